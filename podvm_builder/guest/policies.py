"""The kata agent's policies that every image holds, made from one list of requests.

Specification: kata-containers, agent policy: package ``agent_policy``, one rule for each request of the agent's
protocol; a request without a rule is refused.
"""

from __future__ import annotations

from podvm_builder.model.plan import POLICIES

POLICY_FOLDER = "etc/kata-opa"

REQUESTS = (
    "AddARPNeighborsRequest",
    "AddSwapPathRequest",
    "AddSwapRequest",
    "CloseStdinRequest",
    "CopyFileRequest",
    "CreateContainerRequest",
    "CreateSandboxRequest",
    "DestroySandboxRequest",
    "ExecProcessRequest",
    "GetDiagnosticDataRequest",
    "GetIPTablesRequest",
    "GetMetricsRequest",
    "GetOOMEventRequest",
    "GetVolumeStatsRequest",
    "GuestDetailsRequest",
    "ListInterfacesRequest",
    "ListRoutesRequest",
    "MemAgentCompactConfig",
    "MemAgentMemcgConfig",
    "MemHotplugByProbeRequest",
    "OnlineCPUMemRequest",
    "PauseContainerRequest",
    "PullImageRequest",
    "ReadStreamRequest",
    "RemoveContainerRequest",
    "RemoveStaleVirtiofsShareMountsRequest",
    "ReseedRandomDevRequest",
    "ResizeVolumeRequest",
    "ResumeContainerRequest",
    "SetGuestDateTimeRequest",
    "SetIPTablesRequest",
    "SetPolicyRequest",
    "SignalProcessRequest",
    "StartContainerRequest",
    "StartTracingRequest",
    "StatsContainerRequest",
    "StopTracingRequest",
    "TtyWinResizeRequest",
    "UpdateContainerRequest",
    "UpdateEphemeralMountsRequest",
    "UpdateInterfaceRequest",
    "UpdateRoutesRequest",
    "VolumeStatsRequest",
    "WaitProcessRequest",
    "WriteStreamRequest",
)
"""What the agent asks its policy about; a rule for a request that a release does not know is idle."""


def policy_files() -> dict[str, bytes]:
    """Return the policies: path in the image, without the leading slash, to Rego."""
    return {
        f"{POLICY_FOLDER}/{name}.rego": "\n".join(
            [
                "package agent_policy",
                "",
                *(f"default {request} := {'true' if _allows(name, request) else 'false'}" for request in REQUESTS),
                "",
            ]
        ).encode()
        for name in POLICIES
    }


def _allows(policy: str, request: str) -> bool:
    if policy == "disallow-all-except-setpolicy":
        return request == "SetPolicyRequest"
    return policy == "allow-all" or request != "ExecProcessRequest"
