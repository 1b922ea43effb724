"""mlx_lm.lora, which also prints the speed of each report with more digits.

    python bench_mlx_lora.py FLAGS OF MLX_LM.LORA
"""

import mlx_lm.lora
from mlx_lm.tuner.callbacks import TrainingCallback


class Speeds(TrainingCallback):
    def on_train_loss_report(self, info):
        print(f"Tokens/sec {info['tokens_per_second']:.3f}", flush=True)


mlx_lm.lora.get_reporting_callbacks = lambda *_, **__: Speeds()
mlx_lm.lora.main()
