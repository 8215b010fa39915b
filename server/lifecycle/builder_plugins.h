// Which of gRPC's own services a server offers.
#pragma once

#include <grpcpp/server_builder.h>

namespace quantd::server {

struct OwnServices {
  bool reflection = false;
  bool channelz = false;
};

// Makes exactly these part of the builder's server, whatever else this process has registered for all servers. Channelz
// exists only in builders made after EnableChannelz.
void SetOwnServices(grpc::ServerBuilder& builder, OwnServices services);

// gRPC can add channelz to all builders only; SetOwnServices takes it out of ours again. Idempotent, safe from any
// thread while no ServerBuilder is being made.
void EnableChannelz();

// Gives every server that is started afterwards gRPC's health service. The same conditions.
void EnableHealth();

}  // namespace quantd::server
