"""``/process_audio`` as programs call it, with the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from gradio_client.exceptions import AppError  # type: ignore[import-untyped]

from tests.apps import App
from tests.spoken import MAX_WER, word_errors
from tests.ui.conftest import plain_text
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def client(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("downloads")
    connected = Client(
        app.url,
        verbose=False,
        download_files=folder,
        analytics_enabled=False,
        httpx_kwargs={"timeout": PATIENCE_S},
    )
    yield connected
    connected.close()


def test_everything_but_the_file_has_a_default(
    client: Client, recording: Path, transcripts: list[str]
) -> None:
    status, text, path = client.predict(handle_file(recording), api_name="/process_audio")
    assert status.startswith("Complete: ")
    assert status.endswith("language English")
    assert word_errors(" ".join(transcripts), plain_text(text)).wer <= MAX_WER
    assert Path(path).read_text(encoding="utf-8") == text
    assert Path(path).name == "printing.srt"


def test_arguments_go_in_the_order_of_the_peers(client: Client, recording: Path) -> None:
    status, text, _ = client.predict(
        handle_file(recording), "tiny.en", "en", "transcribe", api_name="/process_audio"
    )
    assert status.startswith("Complete: ")
    assert text.startswith("1\n00:00:0")


def test_errors_come_with_what_to_do_and_the_next_call_works(
    client: Client, not_a_recording: Path, recording: Path
) -> None:
    with pytest.raises(AppError, match=r"is not an audio or video file.*Check that it plays"):
        client.predict(handle_file(not_a_recording), api_name="/process_audio")
    with pytest.raises(AppError, match=r"tiny\.en cannot translate.*Choose transcribe"):
        client.predict(
            handle_file(recording), model_size="tiny.en", task="translate",
            api_name="/process_audio",
        )  # fmt: skip
    with pytest.raises(AppError, match="Unknown language 'klingon'"):
        client.predict(handle_file(recording), language="klingon", api_name="/process_audio")
    status, _, _ = client.predict(handle_file(recording), api_name="/process_audio")
    assert status.startswith("Complete: ")


@pytest.mark.parametrize("model", ["/etc", "models/tiny.en", "../models/base"])
def test_a_caller_cannot_name_folders_of_the_machine(
    client: Client, recording: Path, model: str
) -> None:
    with pytest.raises(AppError, match="Unknown model"):
        client.predict(handle_file(recording), model_size=model, api_name="/process_audio")


def test_it_is_the_only_interface(client: Client) -> None:
    api = client.view_api(all_endpoints=True, print_info=False, return_format="dict")
    assert list(api["named_endpoints"]) == ["/process_audio"]
    assert api["unnamed_endpoints"] == {}
    names = [p["parameter_name"] for p in api["named_endpoints"]["/process_audio"]["parameters"]]
    assert names[:5] == ["audio_file", "model_size", "language", "task", "use_vad"]
