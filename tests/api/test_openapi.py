"""The OpenAPI document is true: schemathesis sends what it allows and more, and every answer is one
that it describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from requests.exceptions import ChunkedEncodingError
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from jobs.options import OPTIONS, help_of
from tests.api.conftest import Site
from tests.api.test_gradio import here
from tests.apps import App, running_app
from tests.jobs.recordings import SHORT
from tests.waiting import PATIENCE_S, eventually

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

WAITING = ("/asr", "/detect-language", "/v1/audio/transcriptions", "/v1/audio/translations")
"""Routes whose answer waits for a job."""

EXAMPLES, LONG_EXAMPLES = 6, 300
"""For each operation and each way to make examples."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("app")
    with running_app(folder, WHISPER_WORKERS="1", WHISPER_LINKS="off") as app:
        yield app


@pytest.fixture(scope="module")
def job(app: App) -> str:
    """Id of a job that has ended."""
    answer = httpx.post(
        f"{app.url}/api/jobs",
        params={"name": "talk.flac"},
        content=SHORT.read_bytes(),
        timeout=PATIENCE_S,
    )
    job: str = answer.json()["id"]
    eventually(lambda: app.get(f"/api/jobs/{job}")[1]["ended"], "the job ends")
    return job


def test_every_answer_is_one_of_the_document(app: App, job: str, long_run: bool) -> None:
    document = httpx.get(f"{app.url}/api/openapi.json", timeout=PATIENCE_S).json()
    schema = schemathesis.openapi.from_dict(document)
    answers = 0

    def conforms(case: Any) -> None:
        nonlocal answers
        try:
            answer = case.call(base_url=app.url, timeout=PATIENCE_S)
        except ChunkedEncodingError:
            # On a slow machine the answer begins before its job has failed, and is broken off.
            assert case.path in WAITING
            return
        assert answer.status_code != 500, answer.text
        case.validate_response(answer, checks=CHECKS)
        answers += 1

    found: Any
    for found in schema.get_all_operations():
        operation = found.ok()
        path: list[dict[str, str] | None] = [None]
        if "{job_id}" in operation.path and operation.method.upper() != "DELETE":
            path.append({"job_id": job})
        for given in path:
            # A path that may be any text cannot be wrong.
            wrong = [GenerationMode.NEGATIVE] if operation.query or operation.body else []
            for mode in (GenerationMode.POSITIVE, *wrong):
                cases = operation.as_strategy(generation_mode=mode, path_parameters=given)
                check = hypothesis.given(case=cases)(conforms)
                hypothesis.settings(
                    max_examples=LONG_EXAMPLES if long_run else EXAMPLES,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(hypothesis.HealthCheck),
                )(check)()
    assert answers > 50


def test_the_document_has_every_option_with_its_help(private: Site) -> None:
    document = here(private).get("/api/openapi.json").json()
    submit = document["paths"]["/api/jobs"]["post"]
    query = {one["name"]: one for one in submit["parameters"] if one["in"] == "query"}
    form = submit["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    for name in OPTIONS:
        assert query[name]["description"].removesuffix(".") == help_of(name)
        assert form[name]["description"].removesuffix(".") == help_of(name)
    assert set(form) - set(query) == {"file", "url", "webhook"}
    assert {"multipart/form-data", "application/json", "application/octet-stream"} == {
        *submit["requestBody"]["content"]
    }
    assert {"/v1/audio/transcriptions", "/asr", "/metrics"} <= {*document["paths"]}
    assert "/login" not in document["paths"]
    assert not [path for path in document["paths"] if "gradio" in path]


def test_the_document_is_for_those_who_may_come_in(locked: Site) -> None:
    assert locked.client().get("/api/openapi.json").status_code == 401
    assert locked.program().get("/api/openapi.json").json()["openapi"].startswith("3.")
