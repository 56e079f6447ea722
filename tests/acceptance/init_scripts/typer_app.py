import json

import typer

app = typer.Typer()


@app.command()
def train(rate: float, epochs: int = 3):
    json.dump({"rate": rate, "epochs": epochs}, open("received.json", "w"))


@app.command(name="eval")
def evaluate(path: str):
    print(path)


if __name__ == "__main__":
    app()
