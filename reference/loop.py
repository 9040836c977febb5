"""A made control loop: an oven whose controller follows a setpoint that is known ahead.

The oven is two masses, the heater and the air, with losses to a room whose temperature wanders; its sensor is noisy, rounded and two samples late. A PI
controller drives the power between 0 and 100%. Rows are a tenth of a second, their stamps seconds of the run.
"""

import pathlib

import numpy as np

ROWS = 8_000
SETPOINTS = [40, 50, 60, 70, 80]
EVERY = (80, 400)
GAIN, RESET = 1.2, 0.012


def main():
    rng = np.random.default_rng(11)
    heater, air, room, integral, late = 40.0, 40.0, 20.0, 40.0, [40.0, 40.0]
    setpoint, until, lines = 40, 0, ["time,temperature,power,setpoint"]
    for row in range(ROWS):
        if row == until:
            setpoint = int(rng.choice([other for other in SETPOINTS if other != setpoint]))
            until += int(rng.integers(*EVERY))
        measured = round(late.pop(0) + 0.05 * rng.standard_normal(), 2)
        error = setpoint - measured
        power = min(max(GAIN * error + integral, 0.0), 100.0)
        # The integral waits while the power is at a bound.
        integral += RESET * error if 0 < power < 100 else 0.0
        room += 0.01 * (20 - room) + 0.05 * rng.standard_normal()
        heater += 0.10 * (power * 1.1 + room - heater) - 0.06 * (heater - air)
        air += 0.05 * (heater - air) - 0.012 * (air - room)
        late.append(air)
        lines.append(f"{row / 10:.1f},{measured:.2f},{power:.1f},{setpoint}")
    path = pathlib.Path(__file__).parent.parent / "examples" / "data" / "loop.csv"
    path.write_text("\n".join(lines) + "\n")


main()
