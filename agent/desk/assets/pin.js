// The forms that change a token's PIN and unlock it with the PUK.
import { call, raw, el, t, tn, has, icon, answer } from '/pages.js';

// pinForms returns part(token) for a token's card, notes(token), update(tokens), armed(on), arm(again) and close().
export function pinForms(redraw) {
  let open = null; // { id, unblock }: the form that is open, one at a time
  let done = null; // { id, unblock }: what was done last
  let token = null; // the open form's, as last heard of
  let armed = false;
  let busy = false;
  let said = ''; // the word for what went wrong
  let tries = -1;
  let rearm = () => {};

  // These stay the same elements in every drawing, so that nothing typed is lost.
  const field = (id) => {
    const input = el('input', { type: 'password', id, autocomplete: 'off', spellcheck: false, maxLength: 256 });
    const caps = el('p', { class: 'small caps', role: 'status' });
    input.setAttribute('autocapitalize', 'off');
    input.setAttribute('aria-describedby', 'pin-problem pin-length');
    for (const name of ['keydown', 'keyup']) {
      input.addEventListener(name, (e) => { caps.textContent = e.getModifierState?.('CapsLock') ? t('prompt.caps') : ''; });
    }
    input.addEventListener('blur', () => { caps.textContent = ''; });
    input.addEventListener('keydown', (e) => {
      if (e.key !== 'Enter') return;
      e.preventDefault(); // it goes on to the next field, and never presses the button
      if (!e.repeat) (fields[fields.indexOf(input) + 1] ?? go).focus();
    });
    input.addEventListener('input', () => { said = ''; refresh(); });
    return Object.assign(input, { box: el('div', { class: 'pin-field' }, input, caps) });
  };
  const given = field('pin-given');
  const fresh = field('pin-fresh');
  const again = field('pin-again');
  const fields = [given, fresh, again];
  again.addEventListener('blur', () => { if (again.value && again.value !== fresh.value) say('mismatch'); });
  const tick = el('input', { type: 'checkbox', id: 'pin-final', onchange: () => refresh() });
  const problem = el('p', { class: 'problem', id: 'pin-problem', role: 'alert' });
  const layout = el('p', { class: 'small faint', id: 'pin-layout', role: 'status' });
  const go = answer({ class: 'button main', id: 'pin-go', onclick: (e) => { if (e.isTrusted) submit(); } });
  const cancel = el('button', { type: 'button', class: 'button plain', id: 'pin-cancel', onclick: () => { close(); redraw(); } });

  const size = (s) => {
    const b = new TextEncoder().encode(s);
    const n = b.length;
    b.fill(0);
    return n;
  };
  const stateOf = (k) => (open.unblock ? k.puk : k.pin);

  function say(word, left = -1) {
    said = word;
    tries = left;
    refresh();
  }

  function words() {
    if (said === '') return '';
    const text = t(has('desk.pin.problem.' + said) ? 'desk.pin.problem.' + said : 'desk.pin.problem.failed');
    return tries > 0 ? text + ' ' + tn('prompt.tries_left', tries) : text;
  }

  // lack says what is missing: the element to mend it in, and a word for it.
  function lack() {
    if (given.value === '') return [given, open.unblock ? 'no_puk' : 'no_pin'];
    const n = size(fresh.value);
    if (n === 0) return [fresh, 'no_new'];
    if (n < token.minPin || (token.maxPin > 0 && n > token.maxPin)) return [fresh, 'new_length'];
    if (!open.unblock && fresh.value === given.value) return [fresh, 'same'];
    if (again.value !== fresh.value) return [again, 'mismatch'];
    if (stateOf(token) === 'final_try' && !tick.checked) return [tick, 'no_tick'];
    return null;
  }

  function refresh() {
    if (!open || !token) return;
    go.textContent = t(open.unblock ? 'desk.pin.unblock_do' : 'desk.pin.change');
    go.setAttribute('aria-disabled', String(!armed || busy || lack() !== null));
    cancel.textContent = t('desk.pin.cancel');
    cancel.disabled = busy;
    for (const f of fields) f.disabled = busy;
    const other = fields.some((f) => /[^\x20-\x7e]/.test(f.value));
    layout.textContent = busy ? t('desk.pin.working') : other ? t('desk.pin.layout') : '';
    const text = words();
    if (problem.textContent !== text) problem.textContent = text;
  }

  function wipe(...list) {
    for (const f of list) f.value = '';
  }

  function close() {
    open = null;
    token = null;
    said = '';
    tick.checked = false;
    wipe(...fields);
  }

  function show(id, unblock) {
    close();
    done = null;
    open = { id, unblock };
    redraw();
    rearm();
    given.focus();
  }

  async function submit() {
    if (busy || !open || !token) return;
    const missing = lack();
    if (missing) {
      say(missing[1]);
      missing[0].focus();
      return;
    }
    if (!armed) return;
    const { id, unblock } = open;
    busy = true;
    said = '';
    refresh();
    let result = { done: false, problem: 'refused', tries: -1 };
    try {
      await call('pin', { token: id, unblock, finalTry: tick.checked });
      const a = new TextEncoder().encode(given.value);
      const b = new TextEncoder().encode(fresh.value);
      const bytes = new Uint8Array(2 + a.length + b.length);
      bytes.set([a.length >> 8, a.length & 255]);
      bytes.set(a, 2);
      bytes.set(b, 2 + a.length);
      result.problem = 'failed'; // from here on the token may have been asked
      try { result = await raw('pin', bytes); } finally { for (const x of [a, b, bytes]) x.fill(0); }
    } catch (e) {
      if (['removed', 'busy', 'elsewhere'].includes(e.word)) result.problem = e.word;
      else if (['invalid', 'not_asked'].includes(e.word)) result.problem = 'refused';
    }
    busy = false;
    tick.checked = false;
    rearm();
    if (result.done) {
      close();
      done = { id, unblock };
      redraw();
      document.getElementById('pin-done')?.focus();
      return;
    }
    const ofNew = result.problem.startsWith('new_');
    wipe(...(ofNew ? [fresh, again] : [given]));
    if (!open) return; // the token went meanwhile
    say(result.problem, result.tries);
    if (result.problem === 'pin_locked' || result.problem === 'puk_locked') { wipe(...fields); redraw(); }
    else (ofNew ? fresh : given).focus();
  }

  function length(k) {
    const v = { least: k.minPin, most: k.maxPin };
    if (k.minPin > 1 && k.minPin === k.maxPin) return tn('desk.pin.exactly', k.minPin);
    if (k.minPin > 1 && k.maxPin > 0) return t('desk.pin.between', v);
    if (k.minPin > 1) return t('desk.pin.least', v);
    return k.maxPin > 0 ? t('desk.pin.most', v) : '';
  }

  function form(k) {
    token = k;
    const note = (colour, key) => el('p', { class: 'note ' + colour }, icon('warn'), el('span', {}, t(key)));
    const label = (input, key) => el('label', { class: 'pin-label', htmlFor: input.id }, t(key));
    const final = stateOf(k) === 'final_try';
    const hint = length(k);
    refresh();
    return el('section', { class: 'pin-form', id: 'pin-form', 'aria-labelledby': 'pin-title' },
      el('h2', { id: 'pin-title' }, t(open.unblock ? 'desk.pin.unblock' : 'desk.pin.change')),
      el('div', {}, label(given, open.unblock ? 'desk.pin.puk' : 'desk.pin.old'), given.box,
        open.unblock && el('p', { class: 'small faint' }, t('desk.pin.puk_hint'))),
      final && note('red', open.unblock ? 'desk.pin.puk_final' : 'prompt.final_try'),
      final && el('label', { class: 'final' }, tick, t('prompt.final_tick')),
      el('div', {}, label(fresh, 'desk.pin.new'), fresh.box, el('p', { class: 'small faint', id: 'pin-length' }, hint)),
      el('div', {}, label(again, 'desk.pin.again'), again.box),
      layout, problem, el('div', { class: 'pin-answers' }, go, cancel));
  }

  return {
    // notes returns what a card says of the PIN before its certificates; null: what the prompt would, false: nothing.
    notes(k) {
      if (!k.canSet) return null;
      if (open?.id === k.id && !open.unblock && k.pin === 'final_try') return false; // the form says it
      if (k.pin === 'locked') return el('p', { class: 'note red' }, icon('lock'), el('span', {}, t(k.puk === 'locked' ? 'desk.pin.both_locked' : 'desk.pin.locked')));
      if (k.pin === 'to_be_changed') return el('p', { class: 'note amber' }, icon('warn'), el('span', {}, t('desk.pin.to_change')));
      if (k.pin === 'ok' && k.factory) return el('p', { class: 'note amber' }, icon('warn'), el('span', {}, t('desk.pin.factory')));
      return null;
    },
    // part returns the form, or what opens it.
    part(k) {
      if (!k.canSet) return null;
      if (open?.id === k.id) {
        const over = stateOf(k) === 'locked';
        if (!over) return form(k);
        close();
      }
      const opener = (unblock, key, id, kind) => el('button', { type: 'button', class: kind, id: id + '-' + k.id, onclick: (e) => { if (e.isTrusted) show(k.id, unblock); } }, t(key));
      const changes = k.pin !== 'locked' && k.pin !== 'not_set';
      return el('div', { class: 'pin-part' },
        done?.id === k.id && el('p', { class: 'note good-note', id: 'pin-done', role: 'status', tabIndex: -1 }, icon('done'), el('span', {}, t(done.unblock ? 'desk.pin.unblocked' : 'desk.pin.changed'))),
        el('div', { class: 'pin-openers' },
          changes && opener(false, 'desk.pin.change', 'pin-change', k.pin === 'to_be_changed' || k.factory ? 'button' : 'link'),
          k.puk !== 'locked' && opener(true, 'desk.pin.unblock', 'pin-unblock', changes ? 'link' : 'button')));
    },
    // update hears which tokens there are: a form of one that went is closed.
    update(list) {
      const still = open && list.find((k) => k.id === open.id);
      if (open && !still && !busy) close();
      if (done && !list.some((k) => k.id === done.id)) done = null;
    },
    armed(on) { armed = on; refresh(); },
    arm(again) { rearm = again; },
    close() { if (!busy) { close(); done = null; } },
  };
}
