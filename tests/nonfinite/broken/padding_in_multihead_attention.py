# torch's own module, given a sample of padding alone.
# expect: softmax|scaled_dot_product_attention forward masked-row
import torch
from torch import nn

torch.manual_seed(17)
attention, head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)
optimiser = torch.optim.SGD([*attention.parameters(), *head.parameters()], lr=0.1)
tokens = torch.randn(4, 5, 8)
lengths = torch.tensor([5, 3, 0, 2])
padding = torch.arange(5) >= lengths[:, None]
for _ in range(3):
    mixed, _weights = attention(tokens, tokens, tokens, key_padding_mask=padding)  # born here
    loss = head(mixed[:, 0]).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
