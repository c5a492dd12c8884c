from dataclasses import replace

import pytest
from pandas import DataFrame

from adamolmo.data.samples import read_samples, readable, split_readable
from adamolmo.errors import AdaMolmoError
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import write_table


def test_samples_come_from_table_rows(tiny_samples, tmp_path):
    table = DataFrame([vars(sample) | {"answers": list(sample.answers)} for sample in tiny_samples])
    write_table(table, tmp_path / "samples.parquet", SAMPLES)
    assert read_samples(tmp_path / "samples.parquet") == tiny_samples


@pytest.mark.parametrize("damage", [lambda png: b"", lambda png: b"GIF89a", lambda png: png[:80], lambda png: png[9:]])
def test_damaged_images_are_one_sentence_with_the_sample(tiny_samples, damage):
    torn = replace(tiny_samples[0], sample_id="torn", image=damage(tiny_samples[0].image))
    with pytest.raises(AdaMolmoError, match="sample 'torn': its image cannot be read"):
        torn.open_image()


def test_readable_separates_and_stops_at_the_limit(tiny_samples):
    torn = replace(tiny_samples[0], sample_id="torn", image=b"?")
    usable, failed = readable([*tiny_samples[:3], torn], max_failed_fraction=0.25)
    assert usable == tiny_samples[:3]
    assert [sample["sample_id"] for sample in failed] == ["torn"]
    with pytest.raises(AdaMolmoError, match="1 of 4 samples are unreadable, expected at most 24 %, for example"):
        readable([*tiny_samples[:3], torn], max_failed_fraction=0.24)
    with pytest.raises(AdaMolmoError, match="1 of 1 samples are unreadable"):
        readable([torn], max_failed_fraction=1.0)
    with pytest.raises(AdaMolmoError, match="0 of 0 samples"):
        readable([], max_failed_fraction=0.5)


def test_an_image_with_too_many_pixels_fails_its_sample_alone(tiny_samples):
    areas = [sample.open_image().size[0] * sample.open_image().size[1] for sample in tiny_samples]
    usable, failed = split_readable(tiny_samples, max_pixels=max(areas) - 1)
    assert len(usable) + len(failed) == 10 and usable and failed
    assert "px; expected at most" in failed[0]["reason"]
