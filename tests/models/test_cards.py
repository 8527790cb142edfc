import pytest

from transforms.models.cards import model_card
from transforms.models.weights import sha256_of
from transforms.models.zoo import ARCHITECTURES, CHECKSUMS


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_has_a_card_that_says_where_it_comes_from(name: str) -> None:
    card = model_card(name)
    assert card is not None
    assert card.model == name
    assert card.licence == "Apache-2.0"
    assert card.paper.startswith("https://arxiv.org/abs/")
    assert card.source.startswith("https://")
    assert "ImageNet" in card.accuracy
    assert all(0 < len(paragraph) < 500 for paragraph in card.text)


def test_the_source_of_a_card_is_where_the_weights_are_fetched_from() -> None:
    for name, entry in ARCHITECTURES.items():
        card = model_card(name)
        if entry.weights_file is not None and card is not None:
            published = entry.published(entry.alphas[0], entry.image_sizes[0])
            assert card.source + published.file_name == published.url


@pytest.mark.parametrize(
    ("column", "model"),
    [
        ("mobilenet_v1_0.25_224", "mobilenet"),
        ("mobilenet_v1_1_224_int8", "mobilenet"),
        ("mobilenet_v2_1.4_96_float16", "mobilenet_v2"),
        ("mobilenet_v3_small_0.75_224", "mobilenet_v3_small"),
        ("mobilenet_v3_large_1_224_bfloat16", "mobilenet_v3_large"),
        ("efficientnet_lite0_int8", "efficientnet_lite0"),
        ("tiny", None),
        ("mobilenet_v2_of_mine", None),
        ("../mobilenet", None),
    ],
)
def test_a_card_is_found_by_the_name_in_the_column_model(column: str, model: str | None) -> None:
    card = model_card(column)
    assert (card.model if card else None) == model


def test_the_packaged_weights_are_those_of_the_card() -> None:
    card, packaged = model_card("efficientnet_lite0"), None
    assert card is not None
    packaged = ARCHITECTURES["efficientnet_lite0"].packaged_weights
    assert packaged is not None
    (only,) = card.hashes
    assert only == (packaged.name, "sha256", sha256_of(packaged))


def test_every_known_checksum_stands_on_a_card() -> None:
    cards = [model_card(name) for name in ARCHITECTURES]
    hashes = {one.file_name: one[1:] for card in cards if card for one in card.hashes}
    assert {name: hashes[name] for name in CHECKSUMS} == CHECKSUMS
