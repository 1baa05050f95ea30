//! The types of the stack's resources.

/// The names of the resource types that a static IP depends on.
pub const PROTECTED: [&str; 3] = ["AWS::EC2::EIP", "AWS::EC2::NatGateway", "AWS::EC2::Subnet"];

/// A resource type of CloudFormation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    Eip,
    NatGateway,
    PrefixList,
    Route,
    RouteTable,
    Subnet,
    SubnetRouteTableAssociation,
    /// The controller creates no such resource.
    Other,
}

impl ResourceType {
    pub fn of(name: &str) -> Self {
        match name {
            "AWS::EC2::EIP" => Self::Eip,
            "AWS::EC2::NatGateway" => Self::NatGateway,
            "AWS::EC2::PrefixList" => Self::PrefixList,
            "AWS::EC2::Route" => Self::Route,
            "AWS::EC2::RouteTable" => Self::RouteTable,
            "AWS::EC2::Subnet" => Self::Subnet,
            "AWS::EC2::SubnetRouteTableAssociation" => Self::SubnetRouteTableAssociation,
            _ => Self::Other,
        }
    }

    /// Whether a static IP depends on resources of this type.
    pub fn is_protected(self) -> bool {
        matches!(self, Self::Eip | Self::NatGateway | Self::Subnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_and_the_plan_protect_the_same_types() {
        let mut protected = PROTECTED.map(ResourceType::of).into_iter();
        assert!(protected.all(ResourceType::is_protected));
        let others = [
            "AWS::EC2::Route",
            "AWS::EC2::RouteTable",
            "AWS::EC2::VPC",
            "Eip",
        ];
        let mut others = others.map(ResourceType::of).into_iter();
        assert!(others.all(|other| !other.is_protected()));
    }
}
