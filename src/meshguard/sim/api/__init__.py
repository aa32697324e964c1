"""A Kubernetes API that needs no cluster: the stand-in that kubectl, Ansible, Chaos Toolkit and meshguard talk to.

It answers from memory as kube-apiserver answers, and runs the controllers and a kubelet on a clock of its own. It
imports nothing of meshguard's rules: what the product believes of Kubernetes and Istio is not what it is tested by.
"""
