import json

import click


@click.command(context_settings={"show_default": True})
@click.argument("data", type=click.Path())
@click.option("--lr", "-l", default=0.01, type=float, help="Learning rate.")
@click.option("--epochs", default=10, show_default=True)
@click.option("--optimizer", type=click.Choice(["sgd", "adam"]), default="sgd")
@click.option("--dropout", type=click.FloatRange(0, 1), default=0.5)
@click.option("--seed", type=int)
@click.option("--shuffle/--no-shuffle", default=True)
@click.option("--verbose", is_flag=True, help="Say more.")
@click.option("--name", required=True)
def main(data, lr, epochs, optimizer, dropout, seed, shuffle, verbose, name):
    """Train on DATA."""
    json.dump(dict(locals()), open("received.json", "w"))


if __name__ == "__main__":
    main()
