import pytest

pytest.register_assert_rewrite("tests.browser.visitor")  # so that what it finds wrong is shown
