"""What the simulation's tests share."""

import os
from pathlib import Path

import pytest

from gridledger.simulation.inputs import data_folder


@pytest.fixture(scope="session")
def outside_data() -> Path:
    folder = data_folder(os.environ)
    if folder is None:
        pytest.skip("the outside data sets are absent; GRIDLEDGER_DATA says where they are")
    return folder
