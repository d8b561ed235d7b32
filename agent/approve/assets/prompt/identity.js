// How one certificate is shown.
import { el, t, tn, has, icon, lang } from '/pages.js';

const date = (iso) => new Date(iso).toLocaleDateString(lang === 'en' ? 'en-GB' : 'ru-RU',
  lang === 'en' ? { day: 'numeric', month: 'short', year: 'numeric' } : { day: '2-digit', month: '2-digit', year: 'numeric' });

const role = (i) => (has('prompt.role.' + i.role) ? t('prompt.role.' + i.role) : i.title);

const where = (k) => [k.label, k.serial && '…' + k.serial].filter(Boolean).join(' ');

// identityCard is a certificate that can be chosen.
export function identityCard(i, checked, choice, chosen) {
  const id = 'id-' + i.id;
  const fact = (k, v, extra) => v && el('div', {}, el('dt', {}, t('prompt.' + k)), el('dd', {}, v, extra && ' ', extra));
  const days = i.days <= 30 ? el('span', { class: 'soon' }, tn('prompt.days_left', i.days)) : el('span', { class: 'faint' }, tn('prompt.days_left', i.days));
  return el('label', { class: 'identity' + (checked ? ' checked' : ''), htmlFor: id },
    el('input', { type: 'radio', name: 'identity', id, checked, hidden: !choice, onchange: (e) => {
      for (const l of document.querySelectorAll('.identity')) l.classList.toggle('checked', l === e.target.closest('.identity'));
      chosen();
    } }),
    el('div', { class: 'person' },
      el('p', { class: 'person-name' }, i.name),
      i.organization && el('p', { class: 'organization' }, i.organization),
      role(i) && el('p', { class: 'faint' }, role(i)),
      el('dl', { class: 'facts' },
        fact('iin', i.iin), fact('bin', i.bin), fact('issuer', i.issuer), fact('valid', el('span', { class: 'until' }, date(i.until)), days),
        fact('token', where(i.token)))));
}

// misfitCard is one that cannot, with the reason.
export const misfitCard = (i) => el('li', { class: 'misfit', 'aria-disabled': 'true' }, icon('stop'),
  el('div', {},
    el('p', {}, [i.name, i.organization].filter(Boolean).join(' · ')),
    el('p', { class: 'small' }, t('prompt.misfit.' + i.misfit), i.misfit === 'expired' && ' · ' + date(i.until))));
