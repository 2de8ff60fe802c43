"""The whole app under a sub-path of a real nginx, with a login, in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from access.credentials import Users
from bench.service import free_port
from core.settings import Settings
from tests.apps import ROOT, App, answers, running_app
from tests.browser import NewProfile
from tests.code_blocks import code_blocks
from tests.waiting import eventually

USER, PASSWORD = "alice", "correct horse battery"

NGINX = """
daemon off;
pid {folder}/nginx.pid;
{user}
worker_processes 1;
events {{ }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        absolute_redirect off;
{locations}
    }}
}}
"""


def documented(app_port: str) -> str:
    """The configuration that the documentation tells people to use."""
    block, *_ = code_blocks(ROOT / "docs" / "reverse-proxy.md", "nginx")
    return block.text.replace("127.0.0.1:7860", f"127.0.0.1:{app_port}")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    """An app that asks for a login."""
    folder = tmp_path_factory.mktemp("behind")
    Users(Settings(data_dir=folder / "data")).add(USER, PASSWORD)
    with running_app(folder, WHISPER_ACCESS="login", WHISPER_ROOT_PATH="/subs") as app:
        app.wait_ready()
        yield app


@pytest.fixture(scope="module")
def site(behind: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page as nginx serves it."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("no nginx here (make test says how to install it)")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    # The temporary folders belong to whoever runs the test; unprivileged nginx ignores the line.
    config = NGINX.format(
        folder=folder,
        port=port,
        user="user root;" if Path("/root").owner() == Path.home().owner() else "",
        locations=documented(behind.url.rpartition(":")[2]),
    )
    (folder / "nginx.conf").write_text(config)
    with (folder / "error.log").open("wb") as errors:
        process = subprocess.Popen(
            [nginx, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")],
            stderr=errors,
        )
    try:
        eventually(lambda: process.poll() is not None or answers(port), "nginx answers")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield f"http://127.0.0.1:{port}/subs"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def page(profile: NewProfile, site: str) -> Iterator[Page]:
    """A fresh browser; anything it asks outside of the sub-path, and any error, fails the test."""
    context = profile()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console",
        lambda said: (
            errors.append(said.text)
            if "Content Security Policy" in said.text or "Refused" in said.text
            else None
        ),
    )
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    context.close()
    # Gradio's page names its manifest by an absolute address, which nothing needs.
    outside = [
        url
        for url in asked
        if not url.startswith((f"{site}/", "data:", "blob:")) and not url.endswith("/manifest.json")
    ]
    assert (errors, [url for url in outside if url != site]) == ([], [])


def log_in(page: Page, site: str, path: str = "/") -> None:
    page.goto(f"{site}{path}")
    expect(page).to_have_url(re.compile(rf"^{re.escape(site)}/login\?next="))
    page.get_by_label("User").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#start")


def test_a_job_runs_from_the_login_to_the_player_and_the_files(page: Page, site: str) -> None:
    page.goto(site)
    log_in(page, site)
    expect(page).to_have_url(f"{site}/")
    page.click("#example")
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    player = page.locator("#player video")
    expect(player).to_be_visible()
    assert str(player.get_attribute("src")).startswith("jobs/")
    page.wait_for_function("document.querySelector('#player video').readyState >= 1")
    with page.expect_download() as started:
        page.get_by_role("navigation", name="Downloads").get_by_text("SRT", exact=True).click()
    assert "-->" in Path(started.value.path()).read_text(encoding="utf-8")


def test_a_shared_link_survives_the_login(page: Page, site: str) -> None:
    log_in(page, site)
    page.click("#example")
    expect(page.locator("#jobs .job")).to_have_count(1)
    newest = page.request.get(f"{site}/api/jobs").json()["jobs"][0]
    assert newest["url"] == f"/subs/?job={newest['id']}"
    page.context.clear_cookies()
    log_in(page, site, f"/?job={newest['id']}")
    expect(page).to_have_url(f"{site}/?job={newest['id']}")
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")


def test_a_logout_leaves_nothing_open(page: Page, site: str) -> None:
    log_in(page, site)
    page.get_by_role("link", name="Log out").click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{site}/login")
    assert page.request.get(f"{site}/api/jobs").status == 401
    assert page.request.get(f"{site}/config").status == 401


def test_a_wrong_password_is_said_in_words(page: Page, site: str) -> None:
    page.goto(f"{site}/login")
    page.get_by_label("User").fill(USER)
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("The user name or the password is wrong.")
