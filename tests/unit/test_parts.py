import pytest

from tests.support.parts import needing, program


@pytest.mark.parametrize(("environment", "ending"), [("true", "Failed"), ("", "Skipped")])
def test_a_missing_part_fails_ci_and_skips_elsewhere(monkeypatch, environment, ending):
    monkeypatch.setenv("CI", environment)
    with pytest.raises(BaseException, match="install no-such-package") as ended:
        program("no-such-program", "no-such-package")
    assert type(ended.value).__name__ == ending
    with pytest.raises(BaseException, match="gone") as ended, needing(OSError):
        raise OSError("gone")
    assert type(ended.value).__name__ == ending
