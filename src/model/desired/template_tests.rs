use super::*;

#[test]
fn a_static_ip_comes_from_the_border_group_of_its_zone_and_stays_in_its_own() {
    let zone = "us-west-2-lax-1a".to_owned();
    let new = eip(&zone, &Names::default(), &Layout::default());
    assert_eq!(new[BORDER_GROUP], "us-west-2-lax-1");
    let region = eip(
        &"us-west-2a".to_owned(),
        &Names::default(),
        &Layout::default(),
    );
    assert_eq!(region, json!({ "Domain": "vpc" }));
    let parts = BTreeMap::from([((zone.clone(), Part::Eip), "IP".to_owned())]);
    let names = Names {
        parts,
        ..Names::default()
    };
    for own in [json!({}), json!({ BORDER_GROUP: "other" })] {
        let body = json!({ "Resources": { "IP": { "Type": "AWS::EC2::EIP", "Properties": own } } });
        let live = Layout::read(&body.to_string(), &BTreeMap::new()).expect("a template");
        assert_eq!(
            eip(&zone, &names, &live).get(BORDER_GROUP),
            own.get(BORDER_GROUP)
        );
    }
}

#[test]
fn a_bucket_takes_longer_templates() {
    let mut size = Size {
        resources: 250,
        parameters: 20,
        bytes: 25_600,
        bucket: false,
    };
    assert_eq!(size.shares().map(|(_, share)| share), [0.5, 0.1, 0.5]);
    size.bucket = true;
    assert_eq!(size.shares()[2], ("template_bytes", 0.0256));
}
