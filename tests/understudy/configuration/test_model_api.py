"""What an endpoint speaks: as its table says, or as the endpoint does whose other model it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.configuration import load
from understudy.tree import models_plan

SPOKEN = """
[models.default]
model = "large"
base_url = "https://one.test/v1"
api = "responses"
[models.small]
model = "small"
[models.old]
model = "old"
api = "chat"
[models.elsewhere]
model = "other"
base_url = "https://two.test/v1"
"""


@pytest.fixture
def spoken(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "understudy.toml"
    file.write_text(SPOKEN)
    settings = load(file=file, environ={}, flags={}).settings
    return {endpoint.name: endpoint.api for endpoint in models_plan(settings).endpoints}


def test_another_model_of_the_default_endpoint_speaks_as_that_does(spoken: dict[str, str]):
    assert spoken == {"default": "responses", "small": "responses", "old": "chat", "elsewhere": "chat"}


def test_nothing_else_is_allowed(tmp_path: Path):
    file = tmp_path / "understudy.toml"
    file.write_text('[models.default]\nmodel = "m"\napi = "grpc"\n')
    with pytest.raises(Exception, match=r"models\.default\.api.*chat"):
        load(file=file, environ={}, flags={})
