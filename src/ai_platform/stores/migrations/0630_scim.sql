-- What an identity provider provisioned (RFC 7643): users, each of whom is a principal, and groups.

-- name: userName or displayName as it is compared. resource: the attributes that are kept, without id, meta, members and
-- groups, and never a password. version: of the entity tag.
CREATE TABLE scim_resources (
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('User', 'Group')),
    name text COLLATE "C" NOT NULL,
    external_id text COLLATE "C",
    principal_id text COLLATE "C",
    resource jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, principal_id) REFERENCES principals (tenant, id),
    CHECK ((kind = 'User') = (principal_id IS NOT NULL))
);
CREATE UNIQUE INDEX scim_users ON scim_resources (tenant, name) WHERE kind = 'User';
CREATE UNIQUE INDEX scim_principals ON scim_resources (tenant, principal_id) WHERE kind = 'User';
CREATE INDEX scim_listed ON scim_resources (tenant, kind, created_at, id);
CREATE INDEX scim_named ON scim_resources (tenant, kind, name);
CREATE INDEX scim_external ON scim_resources (tenant, kind, external_id) WHERE external_id IS NOT NULL;
CALL isolate('scim_resources');

CREATE TABLE scim_members (
    tenant text COLLATE "C" NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    member_id text COLLATE "C" NOT NULL,
    display text,
    PRIMARY KEY (tenant, group_id, member_id),
    FOREIGN KEY (tenant, group_id) REFERENCES scim_resources (tenant, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant, member_id) REFERENCES scim_resources (tenant, id) ON DELETE CASCADE
);
CREATE INDEX scim_members_of ON scim_members (tenant, member_id);
CALL isolate('scim_members');

GRANT SELECT, INSERT, DELETE ON scim_resources, scim_members TO aip_gateway;
GRANT UPDATE (display) ON scim_members TO aip_gateway;
GRANT UPDATE (name, external_id, principal_id, resource, version, changed_at) ON scim_resources TO aip_gateway;

-- Whom provisioning removed may come back as somebody else: then the provider's word is free for them.
GRANT DELETE ON sso_identities TO aip_gateway;
