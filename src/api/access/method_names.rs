//! The names of gRPC methods, as they are written in the role policies (`src/bounds/roles.cedar`) and in the
//! role table that is made from these policies (`crate::roles`).

use crate::proto;
use prost_reflect::DescriptorPool;

/// The API's own package, which names leave out.
const PACKAGE: &str = "sayso.v1.";

/// Every gRPC method that this daemon serves, from the descriptors that reflection returns. For example
/// `ProfileService/GetProfile` and `grpc.health.v1.Health/Check`.
#[must_use]
pub fn methods() -> Vec<String> {
    let sets = [
        proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let mut names = Vec::new();
    for set in sets {
        // The descriptor sets are compiled in. If a set could not be decoded, no role could call its methods.
        let pool = DescriptorPool::decode(set).unwrap_or_default();
        for service in pool.services() {
            let service_name = service.full_name();
            let short = service_name.strip_prefix(PACKAGE).unwrap_or(service_name);
            names.extend(service.methods().map(|method| format!("{short}/{}", method.name())));
        }
    }
    names
}

/// Whether a method takes a stream of requests, which may last as long as its answer.
#[must_use]
pub fn takes_a_stream(action: &str) -> bool {
    matches!(
        action,
        "ProfileService/RecordStream" | "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    )
}

/// The name of the method that an HTTP path calls: `/sayso.v1.ProfileService/GetProfile` →
/// `ProfileService/GetProfile`.
#[must_use]
pub fn action_of(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_prefix(PACKAGE).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn methods_with_a_stream_of_requests_match_the_descriptors() {
        let sets = [
            proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ];
        for pool in sets.map(|set| DescriptorPool::decode(set).unwrap()) {
            for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
                let path = format!("{}/{}", method.parent_service().full_name(), method.name());
                assert_eq!(takes_a_stream(action_of(&path)), method.is_client_streaming(), "{path}");
            }
        }
    }
}
