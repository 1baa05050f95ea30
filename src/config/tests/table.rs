//! Sets of options, and the flags whose mistakes they contain. `_` is a blank within a value, `|` a line break.

/// The flags that mistakes must name, in order. An empty list: the set is valid.
pub(super) const TABLE: &[(&str, &[&str])] = &[
    ("", &[]),
    ("ZONES --provider=aws", &[]),
    ("--provider=noop", &[]),
    ("--provider=gcp", &["provider"]),
    ("--provider=aws", &["aws-az"]),
    // Zones and their subnets.
    ("--aws-az=eu-west-1a", &["aws-nat-cidr-block"]),
    (
        "--aws-az=us-west-2-lax-1a --aws-nat-cidr-block=10.0.0.0/28",
        &[],
    ),
    (
        "--aws-az=us-west-2-lax-1 --aws-nat-cidr-block=10.0.0.0/28",
        &["aws-az"],
    ),
    (
        "--aws-az=us-east-1-wl1-bos-wlz-1 --aws-nat-cidr-block=10.0.0.0/28",
        &["aws-az"],
    ),
    ("--remove-zone=eu-west-1c", &[]),
    ("--remove-zone=eu-west-1", &["remove-zone"]),
    (
        "--aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.0/28 --remove-zone=eu-west-1a",
        &["remove-zone"],
    ),
    ("--allow-zone-removal", &["allow-zone-removal"]),
    ("--allow-zone-removal=true", &["allow-zone-removal"]),
    ("--allow-zone-removal=false", &[]),
    ("--aws-nat-cidr-block=10.0.0.0/28", &["aws-nat-cidr-block"]),
    (
        "--aws-az=eu-west-1a,eu-west-1b --aws-nat-cidr-block=10.0.0.0/28|10.0.0.16/28",
        &[],
    ),
    (
        "--aws-az=eu-west-1a --aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.0/28,10.0.0.16/28",
        &["aws-az"],
    ),
    (
        "--aws-az=eu-west-1 --aws-nat-cidr-block=10.0.0.0/28",
        &["aws-az"],
    ),
    (
        "--aws-az=us-gov-west-1 --aws-nat-cidr-block=10.0.0.0/28",
        &["aws-az"],
    ),
    (
        "--aws-az=us-gov-west-1a --aws-nat-cidr-block=10.0.0.0/28",
        &[],
    ),
    (
        "--aws-az=us-west-2-lax-1a --aws-nat-cidr-block=10.0.0.0/28",
        &[],
    ),
    (
        "--aws-az=eu-central-1-ham-1a --aws-nat-cidr-block=10.0.0.0/28",
        &[],
    ),
    (
        "--aws-az=euw1-az1 --aws-nat-cidr-block=10.0.0.0/28",
        &["aws-az"],
    ),
    (
        "--aws-az=EU-WEST-1A --aws-nat-cidr-block=10.0.0.0/28",
        &["aws-az"],
    ),
    (
        "--aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.1/28",
        &["aws-nat-cidr-block"],
    ),
    (
        "--aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.0",
        &["aws-nat-cidr-block"],
    ),
    (
        "--aws-az=eu-west-1a --aws-nat-cidr-block=fd00::/28",
        &["aws-nat-cidr-block"],
    ),
    (
        "--aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.0/29",
        &["aws-nat-cidr-block"],
    ),
    (
        "--aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.0/15",
        &["aws-nat-cidr-block"],
    ),
    ("--aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.0/16", &[]),
    (
        "--aws-az=eu-west-1a,eu-west-1b --aws-nat-cidr-block=10.0.0.0/24,10.0.0.16/28",
        &["aws-nat-cidr-block"],
    ),
    // Sources.
    ("--master=https://one:6443 --master=two", &[]),
    ("--master=https://one --master=one:443", &["master"]),
    ("--master=ftp://one", &["master"]),
    ("--master=https://a:b@one", &["master"]),
    (
        "--master=http://one --use-platform-credentials",
        &["master"],
    ),
    ("--master=https://one --use-platform-credentials=true", &[]),
    (
        "--use-platform-credentials=perhaps",
        &["use-platform-credentials"],
    ),
    ("--manifests=examples", &[]),
    ("--manifests=examples --leader-elect=false", &[]),
    ("--manifests=examples --leader-elect", &["leader-elect"]),
    (
        "--manifests=examples --kubeconfig=k --context=c --master=m",
        &["manifests", "manifests", "manifests"],
    ),
    ("--manifests=examples --namespace=team-a", &["manifests"]),
    ("--namespace=team-a", &[]),
    ("--namespace=Team_A", &["namespace"]),
    ("--otlp-endpoint=http://collector:4318", &[]),
    ("--otlp-endpoint=collector:4318", &["otlp-endpoint"]),
    // Tags and names.
    ("--additional-stack-tags=team=a,b|stage=x=y", &[]),
    ("--additional-stack-tags=team", &["additional-stack-tags"]),
    ("--additional-stack-tags==team", &["additional-stack-tags"]),
    (
        "--additional-stack-tags=AvailabilityZone=a",
        &["additional-stack-tags"],
    ),
    ("--additional-stack-tags=team=", &["additional-stack-tags"]),
    (
        "--additional-stack-tags=AWS:team=a",
        &["additional-stack-tags"],
    ),
    (
        "--additional-stack-tags=team=a --additional-stack-tags=team=b",
        &["additional-stack-tags"],
    ),
    (
        "--additional-stack-tags=kubernetes:application=other",
        &["additional-stack-tags"],
    ),
    ("--aws-route-table-tag=Type=dmz", &[]),
    ("--aws-route-table-tag=dmz", &["aws-route-table-tag"]),
    ("--cluster-id=aws:123456789012:eu-central-1:kube-1", &[]),
    ("--cluster-id=kube_1", &["cluster-id"]),
    (
        "--cluster-id=kube --cluster-id-tag-prefix=aws:cluster/",
        &["cluster-id-tag-prefix"],
    ),
    ("--controller-id=", &["controller-id"]),
    ("--vpc-id=vpc-0123456789abcdef0", &[]),
    ("--vpc-id=", &[]),
    ("--vpc-id=subnet-01234567", &["vpc-id"]),
    ("--cf-template-bucket=my-templates.example", &[]),
    (
        "--cf-template-bucket=s3://my-templates",
        &["cf-template-bucket"],
    ),
    ("--cf-template-bucket=10.0.0.1", &["cf-template-bucket"]),
    (
        "--aws-cfn-role-arn=arn:aws-cn:iam::123456789012:role/path/cfn",
        &[],
    ),
    (
        "--aws-cfn-role-arn=arn:aws:iam::123456789012:user/cfn",
        &["aws-cfn-role-arn"],
    ),
    // Durations.
    ("--resync-interval=10s --empty-grace-period=0", &[]),
    ("--resync-interval=9s", &["resync-interval"]),
    ("--resync-interval=5", &["resync-interval"]),
    ("--resync-interval=-5m", &["resync-interval"]),
    ("--empty-grace-period=1h30m", &[]),
    ("--max-removal=0", &[]),
    ("--max-removal=100", &[]),
    ("--max-removal=101", &["max-removal"]),
    ("--max-removal=-1", &["max-removal"]),
    ("--max-removal=half", &["max-removal"]),
    (
        "--drift-detection=report --drift-interval=10s --allow-new-eips=eu-west-1a=203.0.113.7",
        &[],
    ),
    ("--allow-new-eips=false", &[]),
    (
        "--allow-new-eips=eu-west-1a=203.0.113.7,eu-west-1b=203.0.113.8 --allow-new-eips=eu-west-1c=203.0.113.9",
        &[],
    ),
    ("--allow-new-eips", &["allow-new-eips"]),
    ("--allow-new-eips=true", &["allow-new-eips"]),
    ("--allow-new-eips=eu-west-1a", &["allow-new-eips"]),
    ("--allow-new-eips=203.0.113.7", &["allow-new-eips"]),
    ("--allow-new-eips=eu-west-1a=", &["allow-new-eips"]),
    (
        "--allow-new-eips=eu-west-1a=2001:db8::1",
        &["allow-new-eips"],
    ),
    ("--allow-new-eips=x!y=203.0.113.7", &["allow-new-eips"]),
    (
        "--aws-eip-allocation-id=eu-west-1a=eipalloc-0123456789abcdef0,eu-west-1b=eipalloc-01234567",
        &[],
    ),
    (
        "--replace-static-ip=eu-west-1a --aws-eip-allocation-id=eu-west-1a=eipalloc-01234567",
        &[],
    ),
    ("--aws-eips-per-zone=8", &[]),
    ("--aws-eips-per-zone=2 --aws-eips-in-use-per-zone=2", &[]),
    (
        "--aws-eips-per-zone=2 --aws-eips-in-use-per-zone=3",
        &["aws-eips-in-use-per-zone"],
    ),
    ("--aws-eips-per-zone=0", &["aws-eips-per-zone"]),
    ("--aws-eips-per-zone=9", &["aws-eips-per-zone"]),
    ("--replace-static-ip=eu-west-1a", &["replace-static-ip"]),
    ("--replace-static-ip=eu-west-1a --aws-eips-per-zone=2", &[]),
    (
        "--replace-static-ip=eu-west-1 --aws-eip-allocation-id=eu-west-1a=eipalloc-01234567",
        &["replace-static-ip"],
    ),
    (
        "--replace-static-ip=eu-west-1b --aws-eip-allocation-id=eu-west-1a=eipalloc-01234567",
        &["replace-static-ip"],
    ),
    (
        "--aws-az=eu-west-1a --aws-nat-cidr-block=10.0.0.0/28 --replace-static-ip=eu-west-1b \
         --aws-eip-allocation-id=eu-west-1b=eipalloc-01234567",
        &["replace-static-ip"],
    ),
    (
        "--aws-eip-allocation-id=eu-west-1a",
        &["aws-eip-allocation-id"],
    ),
    (
        "--aws-eip-allocation-id=eu-west-1a=203.0.113.7",
        &["aws-eip-allocation-id"],
    ),
    (
        "--aws-eip-allocation-id=x!y=eipalloc-01234567",
        &["aws-eip-allocation-id"],
    ),
    (
        "--aws-eip-allocation-id=eu-west-1a=eipalloc-01234567,eu-west-1b=eipalloc-01234567",
        &["aws-eip-allocation-id"],
    ),
    (
        "--aws-eip-allocation-id=eu-west-1a=eipalloc-01234567,eu-west-1a=eipalloc-89abcdef",
        &["aws-eip-allocation-id"],
    ),
    (
        "--aws-eip-allocation-id=eu-west-1a=eipalloc-01234567 --aws-eip-allocation-id=eu-west-1a=eipalloc-89abcdef \
         --aws-eips-per-zone=2",
        &[],
    ),
    (
        "--aws-eip-allocation-id=eu-west-1a=eipalloc-01234567,eu-west-1a=eipalloc-01234567 --aws-eips-per-zone=2",
        &["aws-eip-allocation-id"],
    ),
    ("--stack-policy=protect", &[]),
    ("--stack-policy=open", &["stack-policy"]),
    (
        "--drift-detection=on --drift-interval=9s --allow-new-eips=perhaps",
        &["drift-detection", "allow-new-eips", "drift-interval"],
    ),
    (
        "--leader-elect-lease-duration=10s",
        &["leader-elect-lease-duration"],
    ),
    ("--leader-elect-lease-duration=10m", &[]),
    (
        "--leader-elect-lease-duration=11m",
        &["leader-elect-lease-duration"],
    ),
    (
        "--leader-elect-lease-duration=15s500ms",
        &["leader-elect-lease-duration"],
    ),
    (
        "--leader-elect-renew-deadline=2400ms",
        &["leader-elect-renew-deadline"],
    ),
    ("--leader-elect-renew-deadline=2500ms", &[]),
    (
        "--leader-elect-resource-name=a/b",
        &["leader-elect-resource-name"],
    ),
    (
        "--leader-elect-resource-namespace=A",
        &["leader-elect-resource-namespace"],
    ),
    // The process.
    (
        "--log-level=warning --log-format=json --address=127.0.0.1:0",
        &[],
    ),
    ("--log-level=loud", &["log-level"]),
    ("--log-format=xml", &["log-format"]),
    ("--address=8080", &["address"]),
    ("--address=:80800", &["address"]),
    ("--on-empty=ask", &["on-empty"]),
    ("--prefix-lists=when-full", &[]),
    ("--prefix-lists=always", &[]),
    ("--prefix-lists=yes", &["prefix-lists"]),
    // All at once.
    (
        "--provider=aws --aws-az=a --resync-interval=x --log-level=loud --vpc-id=x --dry-run=x",
        &[
            "vpc-id",
            "aws-nat-cidr-block",
            "aws-az",
            "resync-interval",
            "dry-run",
            "log-level",
        ],
    ),
];
