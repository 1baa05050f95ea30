"""An AWS stand-in for tests: moto's EC2, S3 and STS with a CloudFormation that behaves."""
