"""Recurrent networks."""

import torch
from torch import Tensor, nn

from .registry import architecture

SEQUENCE = (3, 7, 10)


class Tagger(nn.Module):
    """A recurrent layer and a linear head at every step."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0])


def tagger(name: str, layer: type[nn.RNNBase], **options) -> None:
    @architecture("recurrent", name)
    def build():
        return Tagger(layer(10, 12, batch_first=True, **options)), (torch.randn(SEQUENCE),)


tagger("lstm", nn.LSTM)
tagger("lstm-two-layers", nn.LSTM, num_layers=2)
tagger("lstm-bidirectional", nn.LSTM, bidirectional=True)
tagger("gru", nn.GRU)
tagger("gru-bidirectional", nn.GRU, bidirectional=True)
tagger("rnn-tanh", nn.RNN)
tagger("rnn-relu-bidirectional", nn.RNN, nonlinearity="relu", bidirectional=True)


class LastState(nn.Module):
    """Classifies a sequence of tokens by the last hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer, self.head = nn.Embedding(20, 10), nn.LSTM(10, 12, batch_first=True), nn.Linear(24, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        _, (hidden, cell) = self.layer(self.embed(tokens))
        return self.head(torch.cat([hidden[-1], cell[-1]], 1))


class Translator(nn.Module):
    """Encoder and decoder of GRUs with dot-product attention between them."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(20, 10), nn.Embedding(15, 10)
        self.encoder, self.decoder = nn.GRU(10, 12, batch_first=True), nn.GRU(10, 12, batch_first=True)
        self.head = nn.Linear(24, 15)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, state = self.encoder(self.source(source))
        states, _ = self.decoder(self.target(target), state)
        weights = (states @ memory.transpose(1, 2)).softmax(-1)
        return self.head(torch.cat([states, weights @ memory], -1))


class CellLoop(nn.Module):
    """A GRU cell written out over the steps of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(10, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 12)
        for step in range(4):
            state = self.cell(x[:, step], state)
        return self.head(state)


@architecture("recurrent")
def lstm_last_state():
    return LastState(), (torch.randint(0, 20, (3, 7)),)


@architecture("recurrent")
def seq2seq_attention():
    return Translator(), (torch.randint(0, 20, (3, 7)), torch.randint(0, 15, (3, 5)))


@architecture("recurrent")
def gru_cell_loop():
    return CellLoop(), (torch.randn(SEQUENCE),)
