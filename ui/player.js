// The player, the list of cues and the timeline, kept in step. Runs once in each of their
// components; what they show is exchanged under them, so everything is looked up again at every event.
const root = element.closest('.results') || document;
const player = () => root.querySelector('video');

function playFrom(seconds) {
  const video = player();
  if (!video || !Number.isFinite(seconds)) return;
  video.currentTime = seconds;
  // A browser may refuse to play; the position is set all the same.
  video.play().catch(() => {});
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-start]');
  const strip = event.target.closest('.timeline svg');
  if (button) playFrom(Number(button.dataset.start));
  else if (strip) playFrom(timeAt(strip, event));
});

// Media events do not bubble: listen on the way down.
element.addEventListener('timeupdate', (event) => {
  const rows = [...root.querySelectorAll('.cues li')];
  const now = event.target.currentTime + 0.01;
  const started = rows.filter((row) => Number(row.querySelector('button').dataset.start) <= now);
  const current = started.at(-1);
  rows.forEach((row) => row.removeAttribute('aria-current'));
  current?.setAttribute('aria-current', 'true');
  showPlayhead(event.target.currentTime);
  if (current && !event.target.paused) {
    const list = current.parentElement;
    list.scrollTop = current.offsetTop - list.offsetTop - list.clientHeight / 3;
  }
}, true);

element.addEventListener('error', (event) => {
  if (event.target.tagName !== 'VIDEO') return;
  root.classList.add('unplayable');
}, true);

element.addEventListener('loadstart', () => root.classList.remove('unplayable'), true);

// Without a picture browsers draw a bar for sound, some without captions over it: write them here.
function caption(video) {
  const stage = video.closest('.stage');
  if (!stage || !video.readyState) return;
  const track = video.textTracks[0];
  const shown = stage.querySelector('.caption');
  const soundOnly = video.videoHeight === 0;
  // On the place around it: what the server draws next takes classes of its own elements away.
  root.classList.toggle('sound-only', soundOnly);
  shown.textContent = '';
  if (!track) return;
  track.mode = soundOnly ? 'hidden' : 'showing';
  track.oncuechange = () => {
    const lines = [...track.activeCues].map((cue) => cue.getCueAsHTML().textContent);
    shown.textContent = soundOnly ? lines.join('\n') : '';
  };
}

element.addEventListener('loadedmetadata', (event) => {
  const video = event.target;
  // The captions come when the job is done, the recording before.
  video.textTracks.onaddtrack = () => caption(video);
  caption(video);
}, true);

// The timeline.
const strips = () => root.querySelectorAll('.timeline');

function timeAt(strip, event) {
  const box = strip.getBoundingClientRect();
  const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  return share * Number(strip.parentElement.dataset.total);
}

function showPlayhead(seconds) {
  strips().forEach((strip) => {
    root.style.setProperty('--playhead', `${100 * seconds / Number(strip.dataset.total)}%`);
  });
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function said(seconds) {
  const rows = [...root.querySelectorAll('.cues li')];
  const before = rows.filter((row) => Number(row.querySelector('button').dataset.start) <= seconds);
  return before.at(-1)?.querySelector('span').innerText.replaceAll('\n', ' ') ?? '';
}

// Outside of what the server draws, which would take it away.
if (element.closest('#timeline')) {
  const tip = document.createElement('div');
  tip.className = 'timeline-tip';
  tip.hidden = true;
  document.body.append(tip);
  element.addEventListener('pointermove', (event) => {
    const strip = event.target.closest('.timeline svg');
    tip.hidden = !strip;
    if (!strip) return;
    const seconds = timeAt(strip, event);
    const gap = event.target.closest('.gap');
    const words = gap ? gap.textContent : `${clock(seconds)}  ${said(seconds)}`;
    tip.textContent = words.slice(0, 120);
    const box = strip.getBoundingClientRect();
    const left = Math.min(event.clientX, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${box.top - tip.offsetHeight - 6}px`;
  });
  element.addEventListener('pointerleave', () => { tip.hidden = true; });
}
