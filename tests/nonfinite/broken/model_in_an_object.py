# An image translator's habit: every tensor is kept in the object, one method a pass.
# expect: log forward log-of-zero
import torch
from torch import nn


class Translator:
    def __init__(self):
        self.net_g, self.net_d = nn.Linear(4, 4), nn.Linear(4, 1)
        self.for_g = torch.optim.SGD(self.net_g.parameters(), lr=0.01)
        self.for_d = torch.optim.SGD(self.net_d.parameters(), lr=0.5)

    def set_input(self, batch):
        self.real = batch

    def forward(self):
        self.fake = self.net_g(self.real)

    def backward_d(self):
        self.loss_d = self.net_d(self.fake.detach()).mean() - self.net_d(self.real).mean()
        self.loss_d.backward()

    def backward_g(self):
        self.belief = torch.sigmoid(self.net_d(self.fake) * 300)
        self.loss_g = -torch.log(self.belief).mean()  # born here
        self.loss_g.backward()

    def optimise(self):
        self.forward()
        self.for_d.zero_grad()
        self.backward_d()
        self.for_d.step()
        self.for_g.zero_grad()
        self.backward_g()
        self.for_g.step()


torch.manual_seed(101)
translator = Translator()
for _ in range(12):
    translator.set_input(torch.randn(8, 4) + 1)
    translator.optimise()
