// What became of the answer.
import { el, t, tn, has, last } from '/pages.js';

const host = (view) => view.target || view.origin.whole;

// working shows the progress after the approval.
export function working(view, state) {
  const title = state.step === 'delivering' || state.step === 'done' ? t('prompt.step.delivering', { host: host(view) }) : t('prompt.step.signing');
  let box = document.getElementById('working');
  if (!box || box.lang !== document.documentElement.lang) {
    box = el('section', { class: 'last', id: 'working', lang: document.documentElement.lang },
      el('div', { class: 'seal turning' }), el('h1', { tabIndex: -1, role: 'status' }), el('progress', {}), el('p', { class: 'count' }), el('p', { class: 'hint', role: 'status' }));
    document.getElementById('main').replaceChildren(box);
    box.querySelector('h1').focus();
  }
  document.title = title + ' · Tanba';
  const h = box.querySelector('h1');
  if (h.textContent !== title) h.textContent = title;
  const p = box.querySelector('progress');
  p.max = Math.max(1, state.total);
  p.value = state.done;
  p.setAttribute('aria-label', title);
  box.querySelector('.count').textContent = t('prompt.of', { done: state.done, total: state.total });
  box.querySelector('.hint').textContent = state.step === 'delivering' || state.step === 'done' ? t('prompt.may_close') : t('prompt.keep_token');
}

// ending shows how it ended.
export function ending(view, state) {
  const where = { host: host(view) };
  const close = t('page.may_close');
  if (state.end === 'done' || state.counts) return signed(view, state, where, close);
  if (has('prompt.end.' + state.end)) return last('quiet', t('prompt.end.' + state.end), [t('prompt.end.' + state.end + '_text', where), close]);
  last('bad', t('trouble.title'), [t(has('trouble.' + state.end) ? 'trouble.' + state.end : 'trouble.internal'), close]);
}

function signed(view, state, where, close) {
  const n = (k) => state.counts?.[k] ?? 0;
  const kept = ['delivered', 'delivering', 'parked', 'dead'].filter((k) => n(k) > 0);
  const made = kept.reduce((sum, k) => sum + n(k), 0);
  const bad = state.codes ?? [];
  const why = state.end === 'done' ? bad : [...new Set([state.end, ...bad])];
  let title = t('prompt.end.none');
  if (made > 0) title = made < state.total ? t('prompt.end.part', { n: made, total: state.total }) : state.total === 1 ? t('prompt.end.done_one') : tn('prompt.end.done', made);
  const reasons = why.map((c) => t(has('trouble.' + c) ? 'trouble.' + c : 'trouble.internal'));
  last(made === 0 ? 'bad' : made < state.total ? 'bad' : 'good', title, [...reasons, ...kept.map((k) => t('prompt.end.' + k, where)), close]);
}
