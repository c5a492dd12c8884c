def test_the_shared_pass_gives_the_same_answers_for_fewer_operations(run_on_study, tmp_path):
    outcome = run_on_study("profiling", "--samples", "2")
    sizes = [(cell["samples"], cell["configs"]) for cell in outcome.record["runs"]]
    assert sizes == [(4, 8), (4, 1), (4, 3)]  # the whole grid, then some of its configurations
    for cell in outcome.record["runs"]:
        assert cell["answers"] == cell["samples"] * cell["configs"]
        assert cell["differing"] == 0
        assert 0 < cell["shared_flops"] < cell["alone_flops"]
        assert cell["shared_s"] > 0 and cell["alone_s"] > 0
        saved = f"{(cell['alone_flops'] - cell['shared_flops']) / 1e9:.1f} GFLOP"
        assert f"| {cell['alone_s']:.1f} | {cell['shared_s']:.1f} |" in outcome.printed
        assert saved in outcome.printed
        assert f"| 0 of {cell['answers']} |" in outcome.printed
    assert "| one at a time, s | shared, s |" in outcome.printed
    whole, one, three = (cell["alone_flops"] for cell in outcome.record["runs"])
    assert one < three < whole
    assert (tmp_path / "record.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "record.png").read_bytes().startswith(b"\x89PNG")
