// What concerns the whole page: how the service is, coming back after it was away, and times in the
// reader's own zone. Runs once, in the component of the notice.
const LOOK_MS = 3000;
const ANSWER_MS = 8000;
const notice = element.querySelector('.notice');
const root = document.documentElement;
let service = null;

function answer(path) {
  return fetch(path, {cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS)});
}

function say(words, kind) {
  if (notice.textContent === words) return;
  notice.textContent = words;
  notice.className = `notice notice-${kind}`;
  notice.hidden = !words;
}

function sentence(words) {
  const text = words.trim();
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

function tell(health, ready) {
  if (!health.alive) {
    say(`${sentence(health.reason || 'The service is stopping')} Jobs are kept and resume when it`
      + ' works again. This page reconnects by itself.', 'bad');
  } else if (health.degraded) {
    say(`${sentence(health.degraded_reason)} Everything else continues.`, 'warn');
  } else if (!ready.ready) {
    say(`Getting ready: ${sentence(ready.reason)}`, 'info');
  } else {
    say('', 'none');
  }
}

async function look() {
  if (document.hidden) return;
  try {
    const replies = await Promise.all(
      [answer('health'), answer('ready'), answer('gradio_api/app_id')]);
    // A proxy's error page is not JSON.
    const [health, ready] = [await replies[0].json(), await replies[1].json()];
    const now = `${replies[2].status} ${await replies[2].text()}`;
    if (root.dataset.away || (service !== null && service !== now)) {
      // Another process: it does not know this page, but it knows the jobs.
      location.reload();
      return;
    }
    service = now;
    tell(health, ready);
  } catch {
    root.dataset.away = 'yes';
    say('The service cannot be reached. Jobs are kept and resume when it is back. This page'
      + ' reconnects by itself.', 'bad');
  }
}

async function forever() {
  for (;;) {
    await look();
    await new Promise((again) => {
      const timer = setTimeout(again, LOOK_MS);
      document.addEventListener('visibilitychange', () => { clearTimeout(timer); again(); },
        {once: true});
    });
  }
}
forever();

// In a shadow tree, so that what the server sends next does not change it back.
if (!customElements.get('local-time')) {
  customElements.define('local-time', class extends HTMLElement {
    static observedAttributes = ['at', 'show'];
    constructor() {
      super();
      this.attachShadow({mode: 'open'});
    }
    attributeChangedCallback() {
      const when = new Date(Number(this.getAttribute('at')) * 1000);
      if (Number.isNaN(when.getTime())) return;
      const minute = {hour: '2-digit', minute: '2-digit'};
      const second = {...minute, second: '2-digit'};
      const day = {year: 'numeric', month: 'short', day: 'numeric'};
      const style = {clock: second, day: {...day, ...minute}}[this.getAttribute('show')];
      this.shadowRoot.textContent = when.toLocaleString([], style ?? {...day, ...second});
      this.title = when.toLocaleString();
    }
  });
}
