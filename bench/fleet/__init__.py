"""An exit of a whole mesh of thousands of fake pods, beside the same writes sent otherwise."""
