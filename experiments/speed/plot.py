"""Plot: cost against the number of parameters and against k, with the peers on it; needs matplotlib."""

from pathlib import Path

from experiments.speed.growth import REFERENCE, Point

EVERY = (1, 3, 10, 30, 100, 300, 1_000)  # k: steps from check to check


def draw(file: Path, along: list[Point], every: list[Point], step: float) -> None:
    """Draw three panels: both coverages against n, and against k as a share of training; `step` is in seconds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    for panel, points, title in zip(panels, (along, every), ("one random direction", "every coordinate"), strict=False):
        for name in dict.fromkeys(name for point in points for name in point.seconds):
            own = [point for point in points if name in point.seconds]
            label = "one forward and one backward pass" if name == "passes" else name
            panel.loglog([p.n_parameters for p in own], [1e3 * p.seconds[name] for p in own], "o-", label=label)
        panel.set(title=title, xlabel="parameters n", ylabel="milliseconds a check")
    for points, what in ((along, "one direction"), (every, "every coordinate")):
        for point in points:
            for name in point.seconds if point.n_parameters == REFERENCE else ():
                if name == "passes":
                    continue
                shares = [100 * point.seconds[name] / (k * step) for k in EVERY]
                panels[2].loglog(EVERY, shares, "o-", label=f"{what}: {name}")
    panels[2].axhline(2.0, color="gray", linestyle=":", label="2 %")
    panels[2].set(title="reference network", xlabel="steps between checks, k", ylabel="% of the training time")
    for panel in panels:
        panel.legend(fontsize="small")
        panel.grid(visible=True, which="major", alpha=0.3)
    figure.savefig(file, dpi=120)
    plt.close(figure)
