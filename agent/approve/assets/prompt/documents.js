// What is to be signed: one document at length, several as a list with ticks.
import { call, el, t, tn, icon, lang } from '/pages.js';

const kinds = {
  'application/pdf': 'PDF', 'application/xml': 'XML', 'text/xml': 'XML', 'application/zip': 'ZIP', 'application/json': 'JSON',
  'image/png': 'PNG', 'image/jpeg': 'JPEG', 'image/tiff': 'TIFF', 'application/pkcs7-mime': 'CMS', 'application/pkcs7-signature': 'CMS',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'DOCX',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'XLSX',
};

function kind(d) {
  const type = d.mediaType.split(';')[0];
  if (type in kinds) return kinds[type];
  if (type.startsWith('text/')) return t('prompt.type_text');
  if (type === '' || type === 'application/octet-stream') return t('prompt.type_unknown');
  return type;
}

const number = (n, digits) => n.toLocaleString(lang === 'en' ? 'en' : 'ru', { maximumFractionDigits: digits });

function size(n) {
  if (n < 1000) return t('prompt.size_b', { size: number(n, 0) });
  if (n < 1000000) return t('prompt.size_kb', { size: number(n / 1000, 0) });
  return t('prompt.size_mb', { size: number(n / 1000000, 1) });
}

const facts = (d) => [kind(d), size(d.size), d.signatures > 0 && tn('prompt.earlier', d.signatures)].filter(Boolean).join(' · ');

const format = (d) => t('prompt.' + (d.format === 'pades' ? 'as_pades' : d.attached ? 'as_attached' : 'as_detached'));

async function copyDigest(button, digest) {
  await navigator.clipboard.writeText(digest);
  const label = button.lastChild.textContent;
  button.lastChild.textContent = t('prompt.copied');
  setTimeout(() => { button.lastChild.textContent = label; }, 1500);
}

async function openCopy(d, status) {
  try {
    const { path } = await call('copy', { document: d.id });
    window.open(path, '_blank', 'noopener,noreferrer');
    status.textContent = '';
  } catch {
    status.textContent = t('prompt.copy_failed');
  }
}

// documents returns draw(), and chosen(): what would be approved, as it was shown.
export function documents(view, changed) {
  const list = view.documents;
  const ticked = new Set(list.map((d) => d.id));
  const status = el('p', { class: 'problem', role: 'status' });

  const one = (d) => el('section', { class: 'card document', 'aria-labelledby': 'documents' },
    el('h2', { id: 'documents' }, t('prompt.document')),
    el('p', { class: 'name' }, d.name),
    el('p', { class: 'faint' }, facts(d)),
    el('p', { class: 'faint' }, format(d)),
    el('p', { class: 'tools' }, el('button', { type: 'button', class: 'button', id: 'open-copy', onclick: () => openCopy(d, status) }, icon('open'), t('prompt.open_copy'))),
    status,
    el('div', { class: 'digest' },
      el('p', { class: 'digest-head' }, el('span', { class: 'faint' }, t('prompt.digest')),
        el('button', { type: 'button', class: 'link', id: 'copy-digest', onclick: (e) => copyDigest(e.currentTarget, d.sha256) }, icon('copy'), el('span', {}, t('prompt.copy_digest')))),
      el('p', { class: 'mono hex' }, d.sha256.match(/.{8}/g).map((s) => el('span', {}, s)))));

  const many = () => {
    const count = el('span', { class: 'faint', id: 'chosen', role: 'status' });
    const all = el('input', { type: 'checkbox', id: 'choose-all', onchange: () => {
      ticked.clear();
      if (all.checked) for (const d of list) ticked.add(d.id);
      for (const b of rows.querySelectorAll('input')) b.checked = all.checked;
      update();
    } });
    const hint = el('p', { class: 'faint small' }, t('prompt.left_out'));
    const update = () => {
      all.checked = ticked.size === list.length;
      all.indeterminate = ticked.size > 0 && ticked.size < list.length;
      count.textContent = t('prompt.chosen', { n: ticked.size, total: list.length });
      hint.classList.toggle('unseen', ticked.size === list.length);
      changed();
    };
    const row = (d) => el('li', { class: 'row' },
      el('label', { class: 'tick' },
        el('input', { type: 'checkbox', checked: ticked.has(d.id), onchange: (e) => { if (e.target.checked) ticked.add(d.id); else ticked.delete(d.id); update(); } }),
        el('span', {}, el('span', { class: 'name' }, d.name), el('span', { class: 'faint small' }, facts(d)))),
      el('span', { class: 'mono faint short', title: d.sha256 }, d.sha256.slice(0, 8) + '…' + d.sha256.slice(-8)),
      el('button', { type: 'button', class: 'link', title: t('prompt.copy_digest'), 'aria-label': t('prompt.copy_digest_of', { name: d.name }),
        onclick: (e) => copyDigest(e.currentTarget, d.sha256) }, icon('copy'), el('span', { class: 'done-word' })),
      el('button', { type: 'button', class: 'link', title: t('prompt.open_copy'), 'aria-label': t('prompt.open_copy_of', { name: d.name }), onclick: () => openCopy(d, status) }, icon('open')));
    const rows = el('ul', { class: 'rows', tabIndex: -1 }, list.map(row));
    const formats = [...new Set(list.map(format))];
    update();
    return el('section', { class: 'card batch', 'aria-labelledby': 'documents' },
      el('div', { class: 'batch-head' }, el('h2', { id: 'documents' }, tn('prompt.documents', list.length)), count),
      el('label', { class: 'all' }, all, t('prompt.choose_all')),
      rows, status, hint, formats.length === 1 && el('p', { class: 'faint small' }, formats[0]));
  };

  return {
    draw: () => (list.length === 1 ? one(list[0]) : many()),
    chosen: () => list.filter((d) => ticked.has(d.id)).map((d) => ({ id: d.id, sha256: d.sha256 })),
  };
}
