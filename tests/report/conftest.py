"""The walker that the report's tests show, and the browser that they show it in."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def walker() -> ModuleType:
    """The module `walker.py` beside this file."""
    return _beside("walker")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Opens a tab of a browser that all tests share; skips where there is none."""
    module = _beside("browser")
    if module.CHROMIUM is None:
        pytest.skip("chromium is not installed")
    tab = module.Tab(tmp_path_factory.mktemp("profile"))
    yield tab
    tab.close()


@pytest.fixture
def tab(browser):
    """The shared tab with a clean sheet."""
    for noted in (browser.requests, browser.console, browser.faults):
        noted.clear()
    yield browser
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    browser.call("Emulation.clearDeviceMetricsOverride")
