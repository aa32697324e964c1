"""The fleet as objects of a simulated cluster: what kubectl shows and what answers in the pods is the model's."""
