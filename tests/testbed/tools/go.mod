module kube-static-egress-controller/testbed/tools

go 1.26.7

require (
	github.com/opencontainers/runc v1.5.2
	github.com/opencontainers/umoci v0.6.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	github.com/prometheus/prometheus v0.316.0
)
