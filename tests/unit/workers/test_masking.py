from workers.output.masking import Mask, secret_values


def test_only_long_enough_values_of_named_variables_are_secrets() -> None:
    environ = {"A": "longest-one", "B": "four", "C": "abc", "D": "", "E": "unnamed"}
    assert secret_values(["A", "B", "C", "D", "MISSING"], environ) == (b"longest-one", b"four")


def test_longer_secret_wins_over_its_prefix() -> None:
    mask = Mask(secret_values(["A", "B"], {"A": "pass", "B": "password"}))
    assert mask.feed(b"password pass passwor") + mask.finish() == b"*** *** ***wor"


def test_bytes_that_are_not_text_are_masked_and_preserved() -> None:
    secret = secret_values(["A"], {"A": "se\udcffcret"})
    assert secret == (b"se\xffcret",)
    assert Mask(secret).text("x se\udcffcret \udc80") == "x *** \udc80"


def test_half_a_character_does_no_harm() -> None:
    values = secret_values(["A"], {"A": "\ud800half"})
    assert Mask(values).text("a \ud800half b") == "a *** b"
