"""The attack that stays: random inputs, led by coverage, for everything that reads what somebody else wrote (README.md)."""
