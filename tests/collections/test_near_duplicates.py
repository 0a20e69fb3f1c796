from iaa_retrieval.collections.near_duplicates import THRESHOLD, NearDuplicates, jaccard, shingles_of

BODY = "def {name}(self, values, limit): total = 0; for value in values: total += value * limit; return total / limit"


def test_similarity_by_hand() -> None:
    # a b c d gives abc, bcd; a b c e gives abc, bce: one of three shared.
    assert jaccard(shingles_of("a b c d"), shingles_of("A, b: c e")) == 1 / 3
    assert jaccard(shingles_of("a b"), shingles_of("a b")) == 1
    assert jaccard(frozenset(), frozenset()) == 1


def test_a_copy_under_another_name_is_left_out() -> None:
    seen = NearDuplicates()
    assert seen.add(BODY.format(name="first"))
    assert not seen.add(BODY.format(name="first"))
    assert not seen.add(BODY.format(name="second"))
    assert seen.add("class Reader: def read(self, path): return open(path).read()")


def test_a_text_below_the_threshold_stays() -> None:
    words = [f"w{number}" for number in range(60)]
    changed = [word if number % 9 else f"other{number}" for number, word in enumerate(words)]
    assert jaccard(shingles_of(" ".join(words)), shingles_of(" ".join(changed))) < THRESHOLD
    seen = NearDuplicates()
    assert seen.add(" ".join(words))
    assert seen.add(" ".join(changed))


def test_what_is_left_out_is_not_compared_with() -> None:
    """Otherwise a chain of small changes would remove texts that share little with any that is kept."""
    words = [f"w{number}" for number in range(60)]
    steps = [[*words[: 60 - 8 * n], *(f"x{number}" for number in range(8 * n))] for n in range(5)]
    texts = [" ".join(step) for step in steps]
    kept: list[str] = []
    seen = NearDuplicates()
    for text in texts:
        near = any(jaccard(shingles_of(text), shingles_of(other)) >= THRESHOLD for other in kept)
        assert seen.add(text) is not near
        if not near:
            kept.append(text)
    assert 1 < len(kept) < len(texts)
