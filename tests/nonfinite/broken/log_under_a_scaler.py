# A scaler that searches is normal; a loss of minus infinity is not.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(44)
model = nn.Linear(4, 4)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
inputs = torch.randn(16, 4)
for step in range(30):
    optimiser.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        p = torch.softmax(1.5**step * model(inputs), dim=1)
    loss = p.float().log().mean()  # born here
    scaler.scale(loss).backward()
    scaler.step(optimiser)
    scaler.update()
