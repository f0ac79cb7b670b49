"""Plot: cost against the number of parameters and against k, with the peers on it; needs matplotlib."""

from pathlib import Path

from experiments.speed.growth import REFERENCE, Point

EVERY = (1, 3, 10, 30, 100, 300, 1_000)  # k: steps from check to check


def draw(file: Path, along: list[Point], every: list[Point], steps: list[Point], step: float) -> None:
    """Draw both coverages and training against n, and checks against k as a share of training; `step` is in seconds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(11, 8.5), layout="constrained")
    panels = list(grid.flat)
    titles = ("one random direction", "every coordinate", "a training step of 256 rows, float32")
    for panel, points, title in zip(panels, (along, every, steps), titles, strict=False):
        for name in dict.fromkeys(name for point in points for name in point.seconds):
            own = [point for point in points if name in point.seconds]
            label = "one forward and one backward pass" if name == "passes" else name
            panel.loglog([p.n_parameters for p in own], [1e3 * p.seconds[name] for p in own], "o-", label=label)
        panel.set(title=title, xlabel="parameters n", ylabel=f"milliseconds a {'step' if points is steps else 'check'}")
    for points, what in ((along, "one direction"), (every, "every coordinate")):
        for point in points:
            for name in point.seconds if point.n_parameters == REFERENCE else ():
                if name == "passes":
                    continue
                shares = [100 * point.seconds[name] / (k * step) for k in EVERY]
                panels[3].loglog(EVERY, shares, "o-", label=f"{what}: {name}")
    panels[3].axhline(2.0, color="gray", linestyle=":", label="2 %")
    panels[3].set(title="reference network", xlabel="steps between checks, k", ylabel="% of the training time")
    for panel in panels:
        panel.legend(fontsize="small")
        panel.grid(visible=True, which="major", alpha=0.3)
    figure.savefig(file, dpi=120)
    plt.close(figure)
