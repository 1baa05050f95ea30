//! The VPC and its internet gateway, read from EC2.

use aws_sdk_ec2::types::{Filter, InternetGateway, Vpc, VpcCidrBlockStateCode};
use ipnet::Ipv4Net;

use super::calls::Calls;
use super::ec2_values::parse_cidr;
use super::kind::{Kind, Service};
use super::pages::{List, Pages};
use crate::provider::ProviderError;

/// VPCs per page.
const PAGE_SIZE: i32 = 100;

/// The properties of the VPC that seldom change, and are kept between passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcInfo {
    pub account: Option<String>,
    pub vpc_id: String,
    pub vpc_cidrs: Vec<Ipv4Net>,
    pub internet_gateway_id: String,
}

/// Reads the VPC and its gateway: two calls, and more only if the account has hundreds of VPCs.
pub async fn read(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    region: &str,
    vpc_id: Option<&str>,
) -> Result<VpcInfo, ProviderError> {
    let vpc = choose_vpc(&vpcs(calls, ec2, vpc_id).await?, vpc_id, region)?;
    let id = vpc.vpc_id.clone().unwrap_or_default();
    let answer = calls
        .read(Service::Ec2, "DescribeInternetGateways", |gate| {
            let filter = Filter::builder()
                .name("attachment.vpc-id")
                .values(&id)
                .build();
            ec2.describe_internet_gateways()
                .filters(filter)
                .customize()
                .interceptor(gate)
                .send()
        })
        .await?;
    let internet_gateway_id = choose_gateway(answer.internet_gateways(), &id)?;
    Ok(VpcInfo {
        account: vpc.owner_id.clone(),
        vpc_cidrs: vpc_cidrs(&vpc),
        vpc_id: id,
        internet_gateway_id,
    })
}

async fn vpcs(
    calls: &Calls,
    ec2: &aws_sdk_ec2::Client,
    vpc_id: Option<&str>,
) -> Result<Vec<Vpc>, ProviderError> {
    let (mut all, mut pages) = (Vec::new(), Pages::of(List::Vpcs));
    while let Some(token) = pages.turn() {
        let request = ec2.describe_vpcs().set_next_token(token);
        let request = match vpc_id {
            Some(id) => request.vpc_ids(id),
            None => request.max_results(PAGE_SIZE),
        };
        let answer = calls
            .read(Service::Ec2, "DescribeVpcs", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await;
        let answer = match answer {
            Err(failure) if failure.kind == Kind::Missing => return Ok(all),
            answer => answer?,
        };
        pages.note(answer.next_token);
        all.extend(answer.vpcs.unwrap_or_default());
    }
    let whole = pages.end().map(|()| all);
    whole.map_err(|long| long.error("TooManyVpcs", "name the workers' with --vpc-id"))
}

fn choose_vpc(vpcs: &[Vpc], wanted: Option<&str>, region: &str) -> Result<Vpc, ProviderError> {
    let default = || vpcs.iter().find(|vpc| vpc.is_default == Some(true));
    let (reason, message) = match (wanted, vpcs) {
        (Some(_), [vpc, ..]) | (None, [vpc]) => return Ok(vpc.clone()),
        (Some(id), []) => (
            "NoVpc",
            format!("VPC {id} does not exist in {region}; correct --vpc-id or AWS_REGION"),
        ),
        (None, []) => (
            "NoVpc",
            format!("the account has no VPC in {region}; correct AWS_REGION or the credentials"),
        ),
        (None, [..]) => match default() {
            Some(vpc) => return Ok(vpc.clone()),
            None => {
                let ids: Vec<&str> = vpcs.iter().filter_map(Vpc::vpc_id).take(5).collect();
                let (count, ids) = (vpcs.len(), ids.join(", "));
                let text = format!(
                    "{region} has {count} VPCs and none is the default one; name the workers' with --vpc-id, such as {ids}"
                );
                ("SeveralVpcs", text)
            }
        },
    };
    Err(ProviderError::after_fix(reason, message))
}

/// Returns every IPv4 CIDR that is associated or being associated, in EC2's order.
fn vpc_cidrs(vpc: &Vpc) -> Vec<Ipv4Net> {
    let mut cidrs: Vec<Ipv4Net> = vpc
        .cidr_block_association_set()
        .iter()
        .filter(|association| {
            let state = association
                .cidr_block_state()
                .and_then(|state| state.state());
            matches!(
                state,
                None | Some(VpcCidrBlockStateCode::Associated | VpcCidrBlockStateCode::Associating)
            )
        })
        .filter_map(|association| parse_cidr(association.cidr_block()?))
        .collect();
    // The primary CIDR is always associated. Some answers have it only here.
    if let Some(primary) = vpc.cidr_block().and_then(parse_cidr)
        && !cidrs.contains(&primary)
    {
        cidrs.insert(0, primary);
    }
    cidrs
}

/// Returns the internet gateway that is attached to the VPC. EC2 calls its state `available`, which the SDK's list of states lacks.
fn choose_gateway(gateways: &[InternetGateway], vpc_id: &str) -> Result<String, ProviderError> {
    let attached = gateways.iter().find(|gateway| {
        gateway.attachments().iter().any(|attachment| {
            let state = attachment
                .state()
                .map_or("available", |state| state.as_str());
            attachment.vpc_id() == Some(vpc_id) && matches!(state, "available" | "attached")
        })
    });
    match attached.and_then(InternetGateway::internet_gateway_id) {
        Some(id) => Ok(id.to_owned()),
        None => Err(ProviderError::after_fix(
            "NoInternetGateway",
            format!(
                "no internet gateway is attached to VPC {vpc_id}; attach one: NAT gateways reach the internet by it"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{
        AttachmentStatus, InternetGatewayAttachment, VpcCidrBlockAssociation, VpcCidrBlockState,
    };

    use super::*;

    fn vpc(id: &str, default: bool) -> Vpc {
        Vpc::builder()
            .vpc_id(id)
            .is_default(default)
            .cidr_block("10.0.0.0/16")
            .build()
    }

    fn chosen(vpcs: &[Vpc], wanted: Option<&str>) -> Result<String, &'static str> {
        choose_vpc(vpcs, wanted, "eu-west-1")
            .map(|vpc| vpc.vpc_id.unwrap())
            .map_err(|error| error.reason)
    }

    #[test]
    fn the_given_vpc_else_the_only_one_else_the_default_one() {
        assert_eq!(chosen(&[vpc("a", false)], Some("a")), Ok("a".to_owned()));
        assert_eq!(chosen(&[vpc("a", false)], None), Ok("a".to_owned()));
        assert_eq!(
            chosen(&[vpc("a", false), vpc("b", true)], None),
            Ok("b".to_owned())
        );
        assert_eq!(
            chosen(&[vpc("a", false), vpc("b", false)], None),
            Err("SeveralVpcs")
        );
        assert_eq!(chosen(&[], None), Err("NoVpc"));
        assert_eq!(chosen(&[], Some("a")), Err("NoVpc"));
        let error = choose_vpc(
            &[vpc("vpc-1", false), vpc("vpc-2", false)],
            None,
            "eu-west-1",
        )
        .unwrap_err();
        assert!(
            error.message.contains("--vpc-id") && error.message.contains("vpc-2"),
            "{error}"
        );
    }

    #[test]
    fn every_associated_cidr_of_the_vpc() {
        let association = |cidr: &str, state| {
            let state = VpcCidrBlockState::builder().state(state).build();
            VpcCidrBlockAssociation::builder()
                .cidr_block(cidr)
                .cidr_block_state(state)
                .build()
        };
        let vpc = Vpc::builder()
            .cidr_block("10.0.0.0/16")
            .cidr_block_association_set(association(
                "10.1.0.0/16",
                VpcCidrBlockStateCode::Associated,
            ))
            .cidr_block_association_set(association(
                "10.2.0.0/16",
                VpcCidrBlockStateCode::Disassociated,
            ))
            .cidr_block_association_set(association("10.3.0.0/16", VpcCidrBlockStateCode::Failed))
            .build();
        let cidrs: Vec<String> = vpc_cidrs(&vpc).iter().map(ToString::to_string).collect();
        assert_eq!(cidrs, ["10.0.0.0/16", "10.1.0.0/16"]);
    }

    #[test]
    fn the_gateway_must_be_attached_to_this_vpc() {
        let gateway = |state: &str, vpc: &str| {
            let attachment = InternetGatewayAttachment::builder()
                .state(AttachmentStatus::from(state))
                .vpc_id(vpc);
            InternetGateway::builder()
                .internet_gateway_id("igw-1")
                .attachments(attachment.build())
                .build()
        };
        assert_eq!(
            choose_gateway(&[gateway("available", "a")], "a").unwrap(),
            "igw-1"
        );
        for gateways in [
            vec![],
            vec![gateway("detaching", "a")],
            vec![gateway("available", "b")],
        ] {
            let error = choose_gateway(&gateways, "a").unwrap_err();
            assert_eq!(error.reason, "NoInternetGateway");
            assert!(error.message.contains("VPC a"), "{error}");
        }
    }
}
