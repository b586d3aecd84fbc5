//! GRPC: the only room that knows tonic and prost services.
