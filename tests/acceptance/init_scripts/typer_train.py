import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer


class Network(str, Enum):
    simple = "simple"
    conv = "conv"


def main(
    data: Path,
    lr: float = 0.01,
    network: Network = Network.simple,
    batch_size: Annotated[int, typer.Option(min=1, help="How many at once.")] = 32,
    seed: Optional[int] = None,
    shuffle: bool = True,
    name: str = typer.Option("first run", "--name", "-n", help="What to call it."),
):
    with open("received.json", "w") as file:
        json.dump(
            {"data": str(data), "lr": lr, "network": network.value, "batch_size": batch_size, "seed": seed,
             "shuffle": shuffle, "name": name},
            file,
        )


if __name__ == "__main__":
    typer.run(main)
