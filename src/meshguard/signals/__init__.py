"""What the data plane says of itself: readers of Envoy and istiod behind the Signals port."""
