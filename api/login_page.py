"""The pages to log in and out: plain HTML that works without scripts and looks like the app."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from fastapi.responses import HTMLResponse

_STYLE = """
:root { color-scheme: light dark; --back: #f8fafc; --card: #fff; --text: #1e293b; --soft: #475569;
  --line: #cbd5e1; --accent: #0f766e; --accent-2: #115e59; --bad: #b91c1c; --bad-soft: #fef2f2; }
@media (prefers-color-scheme: dark) {
  :root { --back: #020617; --card: #0f172a; --text: #f1f5f9; --soft: #94a3b8; --line: #334155;
    --accent: #0d9488; --accent-2: #14b8a6; --bad: #fca5a5; --bad-soft: #450a0a66; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--back); color: var(--text);
  font: 1rem/1.5 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { width: 100%; max-width: 24rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 1.5rem 1.6rem 1.7rem; }
h1 { font-size: 1.4rem; margin: 0; }
p { margin: 0.2rem 0 1rem; color: var(--soft); }
label { display: block; font-weight: 600; margin: 0.9rem 0 0.25rem; }
input { width: 100%; font: inherit; color: inherit; background: var(--back);
  border: 1px solid var(--line); border-radius: 6px; padding: 0.5rem 0.7rem; }
button { width: 100%; margin-top: 1.3rem; font: inherit; font-weight: 600; color: #fff;
  background: var(--accent); border: 0; border-radius: 6px; padding: 0.6rem; cursor: pointer; }
button:hover { background: var(--accent-2); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.problem { color: var(--bad); background: var(--bad-soft); border-left: 3px solid var(--bad);
  border-radius: 4px; padding: 0.5rem 0.7rem; margin: 0.8rem 0 0; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}';"
    " img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>{title} · Whisper for Subs</title>
<style>{style}</style>
</head>
<body><main>
<h1>Whisper for Subs</h1>
<p>Speech in, publishable subtitles out.</p>
{body}
</main></body>
</html>
"""

_LOGIN = """{problem}<form method="post" action="{action}">
<input type="hidden" name="next" value="{wanted}">
<label for="user">User name</label>
<input id="user" name="user" value="{user}" autocomplete="username" autocapitalize="none"
 spellcheck="false" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Log in</button>
</form>"""

_LOGOUT = """<form method="post" action="{action}">
<p>You are logged in as {user}.</p>
<button type="submit">Log out</button>
</form>"""


def login_page(
    root: str, wanted: str, *, user: str = "", problem: str = "", status: int = 200, wait_s: int = 0
) -> HTMLResponse:
    """The form; ``wanted`` is where to go afterwards, without the prefix ``root``."""
    said = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    body = _LOGIN.format(
        problem=said, action=escape(f"{root}/login"), wanted=escape(wanted), user=escape(user)
    )
    answer = _page("Log in", body, status)
    if wait_s:
        answer.headers["Retry-After"] = str(wait_s)
    return answer


def logout_page(root: str, user: str) -> HTMLResponse:
    body = _LOGOUT.format(action=escape(f"{root}/logout"), user=escape(user))
    return _page("Log out", body, 200)


def _page(title: str, body: str, status: int) -> HTMLResponse:
    html = _PAGE.format(title=title, style=_STYLE, body=body)
    return HTMLResponse(html, status, headers=_HEADERS)
