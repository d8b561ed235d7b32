// The rejection: a reason, and the signer's own words.
import { call, el, t, tn } from '/pages.js';

// rejection opens the dialog for the documents that are chosen.
export function rejection(view, docs) {
  const documents = docs.chosen().map((d) => d.id);
  let reason = '';
  const text = el('textarea', { id: 'reject-words', maxLength: 500, rows: 3 });
  const confirm = el('button', { type: 'button', class: 'button danger', id: 'reject-confirm', disabled: true, onclick: send }, t('prompt.reject_confirm'));
  async function send() {
    confirm.disabled = true;
    try {
      await call('reject', { documents, reason, text: text.value });
    } catch {
      confirm.disabled = false;
      return;
    }
    dialog.close();
  }
  const dialog = el('dialog', { id: 'reject-dialog', 'aria-labelledby': 'reject-title' },
    el('h1', { id: 'reject-title' }, documents.length === 1 ? t('prompt.reject_one') : tn('prompt.reject_title', documents.length)),
    el('p', { class: 'faint' }, t('prompt.reject_text')),
    el('fieldset', { role: 'radiogroup', 'aria-label': t('prompt.reason') }, view.reasons.map((r) => el('label', { class: 'reason' },
      el('input', { type: 'radio', name: 'reason', value: r, onchange: () => { reason = r; confirm.disabled = false; } }), t('prompt.reason.' + r)))),
    el('label', { class: 'words-label', htmlFor: 'reject-words' }, t('prompt.own_words')), text,
    el('div', { class: 'dialog-buttons' }, el('button', { type: 'button', class: 'button', id: 'reject-back', onclick: () => dialog.close() }, t('prompt.back')), confirm));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
