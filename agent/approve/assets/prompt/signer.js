// As whom: the certificates, the PIN and the three answers.
import { call, raw, el, t, tn, has, icon, answer, lang } from '/pages.js';
import { rejection } from './reject.js';
import { identityCard, misfitCard } from './identity.js';

const blocked = { locked: 'locked', not_set: 'not_set' };

// signer returns draw(state), update(state), armed(armed, here) and arm(again).
export function signer(view, docs) {
  let state = null;
  let chosen = '';
  let armed = false;
  let here = true;
  let busy = false;
  let rearm = () => {};
  let shownTokens = '';
  let attempt = 0;
  let own = ''; // a problem that the page found itself
  let deadline = 0;

  // These stay the same element in every drawing, so that nothing typed is lost.
  const pin = el('input', { type: 'password', id: 'pin', autocomplete: 'off', spellcheck: false, maxLength: 256, 'aria-describedby': 'pin-note problem' });
  pin.setAttribute('autocapitalize', 'off');
  const tick = el('input', { type: 'checkbox', id: 'final-tick', onchange: () => refresh() });
  const people = el('div', { id: 'people' });
  const unfit = el('div', { id: 'unfit' });
  const entry = el('div', { class: 'entry', id: 'entry' });
  const problem = el('p', { class: 'problem', id: 'problem', role: 'alert' });
  const heading = el('h2', { id: 'sign-as' });
  const hint = el('p', { class: 'hint small faint', id: 'hint', role: 'status' });
  const caps = el('p', { class: 'small caps', id: 'caps', role: 'status' });
  const sign = answer({ class: 'button main', id: 'sign', onclick: (e) => { if (e.isTrusted) approve(); } });
  const clock = el('p', { class: 'small faint clock', id: 'clock' });
  const warning = el('div', { class: 'note amber warning', id: 'warning', role: 'status', hidden: true });

  pin.addEventListener('keydown', (e) => {
    if (e.key === 'Enter') { e.preventDefault(); if (!e.repeat) sign.focus(); }
  });
  pin.addEventListener('input', () => { own = ''; refresh(); });
  for (const name of ['keydown', 'keyup']) {
    pin.addEventListener(name, (e) => { caps.textContent = e.getModifierState?.('CapsLock') ? t('prompt.caps') : ''; });
  }
  pin.addEventListener('blur', () => { caps.textContent = ''; });

  const tokens = () => state?.tokens ?? [];
  const all = () => tokens().flatMap((k) => k.identities.map((i) => ({ ...i, token: k })));
  const current = () => all().find((i) => i.id === chosen);

  function choose(id) {
    chosen = id;
    tick.checked = false;
    own = '';
    drawEntry();
    rearm();
    refresh();
  }

  function drawPeople() {
    const list = all();
    const fit = list.filter((i) => !i.misfit);
    const misfits = list.filter((i) => i.misfit);
    if (!fit.some((i) => i.id === chosen)) chosen = fit.length === 1 ? fit[0].id : '';
    heading.textContent = t(fit.length > 1 ? 'prompt.choose' : 'prompt.sign_as');
    const focus = document.activeElement?.id;
    const message = (mark, title, text) => el('div', { class: 'empty', role: 'status' }, icon(mark), el('p', {}, el('strong', {}, title)), text && el('p', { class: 'faint small' }, text));
    let top = null;
    if (!state?.listed) top = message('token', t('prompt.looking'));
    else if (state.failed) top = message('warn', t('prompt.tokens_failed'));
    else if (tokens().length === 0) top = message('token', t('prompt.no_token'), t('prompt.no_token_text'));
    else if (list.length === 0) top = message('token', t('prompt.no_certificate'));
    else if (fit.length === 0) top = message('warn', t('prompt.none_fit'));
    people.replaceChildren(...[top,
      fit.length > 0 && el('fieldset', { class: 'identities', 'aria-labelledby': 'sign-as' },
        fit.map((i) => identityCard(i, chosen === i.id, fit.length > 1, () => choose(i.id)))),
    ].filter(Boolean));
    const cards = el('ul', { class: 'misfits' }, misfits.map(misfitCard));
    unfit.replaceChildren();
    if (misfits.length > 0) (fit.length > 0 ? unfit : people).append(cards);
    if (focus) document.getElementById(focus)?.focus();
    drawEntry();
  }

  function drawEntry() {
    const who = current();
    const k = who?.token;
    const note = (color, key) => el('p', { class: 'note ' + color, id: 'pin-note' }, icon(key === 'locked' ? 'lock' : 'warn'), t('prompt.' + key));
    if (!who) { entry.replaceChildren(problem); return; }
    if (k.pin in blocked) { entry.replaceChildren(problem, note('red', blocked[k.pin])); return; }
    const parts = [problem];
    if (k.pin === 'final_try') parts.push(note('red', 'final_try'), el('label', { class: 'final' }, tick, t('prompt.final_tick')));
    if (k.pin === 'count_low') parts.push(note('amber', 'count_low'));
    if (k.pin === 'to_be_changed') parts.push(note('amber', 'to_change'));
    if (k.pin === 'ok' && k.factory) parts.push(note('amber', 'factory'));
    if (k.pad) parts.push(el('p', { class: 'note' }, icon('lock'), t('prompt.pin_pad')));
    else parts.unshift(el('label', { class: 'pin-label', htmlFor: 'pin' }, t('prompt.pin')), el('div', { class: 'pin-field' }, pin, caps));
    const had = document.activeElement === pin;
    entry.replaceChildren(...parts);
    if (had) pin.focus();
  }

  // missing says what the signer has still to do, as the element to do it in.
  function missing() {
    const who = current();
    if (docs.chosen().length === 0) return document.getElementById('choose-all');
    if (!who) return people.querySelector('input') ?? hint;
    if (who.token.pin in blocked) return hint;
    if (who.token.pin === 'final_try' && !tick.checked) return tick;
    if (!who.token.pad && pin.value === '') return pin;
    return null;
  }

  function refresh() {
    const n = docs.chosen().length;
    const unlocking = state?.phase === 'unlocking';
    sign.textContent = unlocking ? t('prompt.unlocking') : view.documents.length === 1 ? t('prompt.sign') : tn('prompt.sign_n', n);
    sign.setAttribute('aria-disabled', String(!armed || busy || unlocking || missing() !== null));
    const pad = current()?.token.pad;
    hint.textContent = unlocking ? t(pad ? 'prompt.unlocking_pad' : 'prompt.keep_token') : here ? '' : t('prompt.focus_hint');
    let said = own;
    if (!said && state?.problem && !unlocking) {
      said = t(has('prompt.problem.' + state.problem) ? 'prompt.problem.' + state.problem : 'prompt.problem.token_failed');
      if (state.tries > 0) said += ' ' + tn('prompt.tries_left', state.tries);
    }
    if (problem.textContent !== said) problem.textContent = said;
    const rejectButton = document.getElementById('reject');
    if (rejectButton) rejectButton.disabled = unlocking || n === 0;
    const later = document.getElementById('later');
    if (later) later.disabled = unlocking;
  }

  async function approve() {
    if (busy || state?.phase === 'unlocking') return;
    const lack = missing();
    if (lack) {
      if (lack === pin) own = t('prompt.problem.no_pin');
      refresh();
      lack.focus?.();
      return;
    }
    if (!armed) return;
    busy = true;
    own = '';
    refresh();
    try {
      await call('approve', { documents: docs.chosen(), identity: chosen, finalTry: tick.checked });
      if (current()?.token.pad) await call('pad');
      else {
        const bytes = new TextEncoder().encode(pin.value);
        pin.value = '';
        try { await raw('pin', bytes); } finally { bytes.fill(0); }
      }
    } catch (e) {
      pin.value = '';
      if (e.word !== 'over' && e.word !== 'gone') own = t('prompt.problem.refused');
      rearm();
    }
    busy = false;
    tick.checked = false;
    refresh();
  }

  function showTime() {
    if (!deadline || !clock.isConnected) return;
    const left = Math.max(0, Math.ceil((deadline - performance.now()) / 1000));
    const soon = left <= 60;
    clock.textContent = t('prompt.time_left', { time: Math.floor(left / 60) + ':' + String(left % 60).padStart(2, '0') });
    if (warning.hidden === soon) {
      warning.hidden = !soon;
      if (soon) warning.replaceChildren(el('span', {}, t('prompt.time_warn')),
        answer({ class: 'button', id: 'extend', onclick: () => call('extend').catch(() => {}) }, t('prompt.extend')));
    }
  }
  setInterval(showTime, 500);

  return {
    draw(s) {
      state = s ?? state;
      warning.hidden = true;
      const host = view.target || view.origin.whole;
      const box = el('section', { class: 'card signer', 'aria-labelledby': 'sign-as' },
        heading, people, entry,
        el('div', { class: 'answers' }, sign,
          el('div', { class: 'others' },
            el('button', { type: 'button', class: 'button', id: 'reject', onclick: () => rejection(view, docs) }, t('prompt.reject')),
            answer({ class: 'button plain', id: 'later', onclick: () => call('later').catch(() => {}) }, t('prompt.later'))),
          hint),
        unfit, el('p', { class: 'small faint' }, t('prompt.sends', { host })), clock);
      drawPeople();
      refresh();
      showTime();
      box.lang = lang;
      return box;
    },
    warning,
    update(s) {
      if (s) {
        state = s;
        deadline = performance.now() + s.left * 1000;
        const now = JSON.stringify([s.tokens, s.listed, s.failed]);
        if (now !== shownTokens) {
          const first = shownTokens === '';
          shownTokens = now;
          drawPeople();
          if (!first) rearm();
        }
        if (s.attempt !== attempt) {
          attempt = s.attempt;
          pin.focus();
        }
        showTime();
      }
      refresh();
    },
    armed(a, h) {
      armed = a;
      here = h;
      if (a && document.activeElement === document.body && pin.isConnected) pin.focus();
      refresh();
    },
    arm(again) { rearm = again; },
  };
}
