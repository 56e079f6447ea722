import json

import click


@click.group()
@click.option("--home", default="here")
@click.pass_context
def cli(ctx, home):
    ctx.obj = home


@cli.command()
@click.option("-r", "rate", default=0.5)
@click.argument("names", nargs=2)
@click.pass_obj
def fit(home, rate, names):
    json.dump({"home": home, "rate": rate, "names": names}, open("received.json", "w"))


@cli.command("show-all")
@click.option("--limit", default=3)
def show(limit):
    print(limit)


if __name__ == "__main__":
    cli()
