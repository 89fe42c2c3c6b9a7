"""Point clouds and graphs: networks that gather neighbours."""

import torch
from torch import Tensor, nn

from .registry import architecture


def shared_mlp(*widths: int, dimensions: int = 1) -> nn.Sequential:
    convolution, norm = (nn.Conv1d, nn.BatchNorm1d) if dimensions == 1 else (nn.Conv2d, nn.BatchNorm2d)
    layers = [
        layer
        for inputs, outputs in zip(widths, widths[1:])
        for layer in (convolution(inputs, outputs, 1), norm(outputs), nn.ReLU())
    ]
    return nn.Sequential(*layers)


class PointNet(nn.Module):
    """With the input transform: a 3×3 matrix per cloud is predicted and applied."""

    def __init__(self) -> None:
        super().__init__()
        self.transform, self.matrix = shared_mlp(3, 16, 32), nn.Linear(32, 9)
        self.features, self.head = shared_mlp(3, 16, 32, 64), nn.Linear(64, 10)

    def forward(self, points: Tensor) -> Tensor:
        matrix = self.matrix(self.transform(points).amax(2)).view(-1, 3, 3) + torch.eye(3)
        return self.head(self.features(torch.bmm(matrix, points)).amax(2))


class PointNetPlus(nn.Module):
    """One level of PointNet++: balls around every fourth point, nearest neighbours by topk, gathered and pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.local, self.globally = shared_mlp(6, 16, 32, dimensions=2), shared_mlp(35, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, points: Tensor) -> Tensor:
        centres = points[:, :, ::4]
        distances = torch.cdist(centres.transpose(1, 2), points.transpose(1, 2))
        nearest = distances.topk(8, largest=False).indices
        batch, count, near = nearest.shape
        index = nearest.reshape(batch, 1, count * near).expand(-1, 3, -1)
        grouped = points.gather(2, index).view(batch, 3, count, near)
        relative = grouped - centres.unsqueeze(3)
        local = self.local(torch.cat([grouped, relative], 1)).amax(3)
        return self.head(self.globally(torch.cat([centres, local], 1)).amax(2))


class Dgcnn(nn.Module):
    """Edge convolutions over a graph that is found anew in feature space at every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.edge1, self.edge2 = self.edge(6, 16), self.edge(32, 32)
        self.join, self.head = nn.Conv1d(48, 64, 1, bias=False), nn.Linear(128, 10)

    @staticmethod
    def edge(inputs: int, outputs: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))

    @staticmethod
    def neighbours(x: Tensor, k: int = 6) -> Tensor:
        inner = -2 * torch.matmul(x.transpose(2, 1), x)
        square = (x**2).sum(1, keepdim=True)
        index = (-square - inner - square.transpose(2, 1)).topk(k).indices
        batch, width, points = x.shape
        offsets = torch.arange(batch).view(-1, 1, 1) * points
        rows = x.transpose(2, 1).reshape(batch * points, width)[(index + offsets).view(-1)]
        rows = rows.view(batch, points, k, width)
        centre = x.transpose(2, 1).unsqueeze(2).expand(-1, -1, k, -1)
        return torch.cat([rows - centre, centre], 3).permute(0, 3, 1, 2)

    def forward(self, points: Tensor) -> Tensor:
        a = self.edge1(self.neighbours(points)).amax(3)
        b = self.edge2(self.neighbours(a)).amax(3)
        joined = nn.functional.leaky_relu(self.join(torch.cat([a, b], 1)), 0.2)
        return self.head(torch.cat([joined.amax(2), joined.mean(2)], 1))


class PointTransformer(nn.Module):
    """Vector attention over all pairs of points, with relative positions encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Linear(3, 16), nn.Linear(16, 48)
        self.position = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 16))
        self.weigh = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, points: Tensor) -> Tensor:
        x = self.embed(points)
        q, k, v = self.qkv(x).chunk(3, -1)
        relative = self.position(points.unsqueeze(2) - points.unsqueeze(1))
        weights = self.weigh(q.unsqueeze(2) - k.unsqueeze(1) + relative).softmax(2)
        attended = torch.einsum("bijc,bijc->bic", weights, v.unsqueeze(1) + relative)
        return self.head(self.norm(x + attended).mean(1))


@architecture("point cloud")
def pointnet():
    return PointNet(), (torch.randn(4, 3, 64),)


@architecture("point cloud")
def pointnet_plus():
    return PointNetPlus(), (torch.randn(4, 3, 64),)


@architecture("point cloud")
def dgcnn():
    return Dgcnn(), (torch.randn(4, 3, 32),)


@architecture("point cloud")
def point_transformer():
    return PointTransformer(), (torch.randn(2, 24, 3),)


class Gcn(nn.Module):
    """Graph convolutions on a dense adjacency matrix, normalised by degree."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1, self.layer2, self.head = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        joined = adjacency + torch.eye(adjacency.shape[-1])
        scale = joined.sum(-1).rsqrt()
        normal = scale.unsqueeze(-1) * joined * scale.unsqueeze(-2)
        x = torch.relu(normal @ self.layer1(x))
        return self.head(torch.relu(normal @ self.layer2(x)))


class Gat(nn.Module):
    """Graph attention: scores where there is an edge, −inf elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.source, self.target = nn.Linear(8, 32, bias=False), nn.Linear(32, 1), nn.Linear(32, 1)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = self.project(x)
        scores = nn.functional.leaky_relu(self.source(h) + self.target(h).transpose(1, 2), 0.2)
        weights = scores.masked_fill(adjacency == 0, float("-inf")).softmax(-1)
        return self.head(nn.functional.elu(weights @ h))


class MessagePassing(nn.Module):
    """Messages along an edge list, summed at their targets by index_add."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(16, 32), nn.Linear(40, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        source, target = edges[0], edges[1]
        messages = torch.tanh(self.message(torch.cat([x[source], x[target]], 1)))
        gathered = x.new_zeros(x.shape[0], 32).index_add(0, target, messages)
        return self.head(torch.tanh(self.update(torch.cat([x, gathered], 1))))


def graph(nodes: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    edges = (torch.rand(2, nodes, nodes) < 0.3).float()
    return torch.randn(2, nodes, 8), torch.maximum(edges, edges.transpose(1, 2)).clamp(max=1)


@architecture("graph")
def gcn():
    return Gcn(), graph()


@architecture("graph")
def gat():
    x, edges = graph()
    return Gat(), (x, (edges + torch.eye(12)).clamp(max=1))


@architecture("graph")
def message_passing():
    return MessagePassing(), (torch.randn(12, 8), torch.randint(0, 12, (2, 30)))
