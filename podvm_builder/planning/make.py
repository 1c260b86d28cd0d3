"""Profile and catalogue make plans. Pure: the same input gives equal plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podvm_builder.catalog.cloud import Evidence
from podvm_builder.catalog.entries import Catalogue, Distro
from podvm_builder.catalog.settings import Edit, Fragment, show
from podvm_builder.errors import InputError, InputErrors, Place
from podvm_builder.model.axes import Target
from podvm_builder.model.fact import FACTS
from podvm_builder.model.plan import (
    DistroPlan,
    EvidencePlan,
    GuestPlan,
    Ids,
    ImagePlan,
    KernelPlan,
    MeasurePlan,
    Origin,
    Plan,
    PlatformPlan,
)
from podvm_builder.planning import rules
from podvm_builder.planning.ask import Asked, ask
from podvm_builder.planning.builders import choose_builder, evidence_of
from podvm_builder.planning.guest_rules import check_guest
from podvm_builder.planning.identity import identities
from podvm_builder.planning.matrix import expand
from podvm_builder.planning.merge import Merged, merge
from podvm_builder.planning.profile import Profile

SSH_UNIT = "podvm-ssh.service"
"""Runs in images that somebody may log in to."""


def make_plans(
    source: Profile | Target,
    catalogue: Catalogue,
    sets: Sequence[str] = (),
    *,
    components_digest: str,
    components: str | None = None,
    firmware: str | None = None,
    builder: str | None = None,
) -> tuple[Plan, ...]:
    """Resolve a profile or target to its plans, in the order of its axes.

    Args:
        source: what to plan.
        catalogue: what is known.
        sets: the text of each ``--set``, in order.
        components_digest: identity of the content of the components, see ``planning.identity``; which
            components they are, ``planning.ask.chosen_components`` says.
        components: what ``--components`` chose, over the profile's choice.
        firmware: what ``--firmware`` chose, a name of the catalogue or any path.
        builder: what ``--builder`` chose, of ``model.plan.BUILDERS``; None takes each distribution's own.

    Raises:
        InputError, InputErrors: what is asked for does not exist or cannot work.
    """
    asked = ask(source, catalogue, sets, components=components, firmware=firmware, builder=builder)
    plans: list[Plan] = []
    errors: dict[tuple[str, Place | None], InputError] = {}
    for target in expand(asked.profile, catalogue):
        try:
            name = asked.profile.name or str(target)
            plan = _plan(target, name, catalogue, asked)
            plan = replace(plan, suppressions=asked.profile.suppressions)
            plans.append(replace(plan, ids=identities(plan, components_digest)))
        except InputError as error:
            errors.setdefault((error.message, error.place), error)  # told once, not once a target
    if errors:
        raise InputErrors(tuple(errors.values()))
    return tuple(plans)


def make_plan(target: Target, catalogue: Catalogue, sets: Sequence[str] = (), *, components_digest: str) -> Plan:
    """Resolve one target; see :func:`make_plans`.

    Raises:
        InputError: also where ``sets`` make a matrix of it (PVB119).
    """
    plans = make_plans(target, catalogue, sets, components_digest=components_digest)
    if len(plans) != 1:
        raise InputError(
            f"`{target}` becomes {len(plans)} targets where one is wanted",
            code="PVB119",
            hint="give every axis a single value",
        )
    return plans[0]


def _plan(target: Target, profile: str, catalogue: Catalogue, asked: Asked) -> Plan:
    """Return the plan without its identities."""
    distro = catalogue.distros[target.distro]
    builder = choose_builder(target, catalogue, asked.builder)
    merged = merge([*_fragments(target, catalogue), *asked.fragments])
    _check(target, merged, catalogue)
    evidence = evidence_of(builder, _evidence(target, merged, catalogue))
    return Plan(
        target=target,
        profile=profile,
        builder=builder,
        level=catalogue.level(target, builder),
        distro=DistroPlan(
            name=distro.distribution,
            release=distro.release,
            repositories=_repositories(target, distro),
            os_id=distro.os_id,
        ),
        packages=tuple(sorted({*merged.words("packages"), merged.text("kernel.package")})),
        kernel=KernelPlan(
            package=merged.text("kernel.package"),
            cmdline=merged.words("kernel.cmdline"),
            modules=merged.words("kernel.modules"),
            initrd_modules=merged.words("kernel.initrd_modules"),
        ),
        image=ImagePlan(
            root_format=merged.text("image.root_format"),
            hostname=merged.text("image.hostname"),
            source_date_epoch=merged.number("image.source_date_epoch"),
            remove=merged.words("image.remove"),
        ),
        units=_units(merged, catalogue),
        components=merged.text("components"),
        measure=MeasurePlan(phases=merged.values["measure.phases"] is True),
        guest=GuestPlan(
            policy=merged.text("guest.policy"),
            registry_auth=merged.text("guest.registry_auth"),
            port=merged.number("guest.port"),
            tls=merged.text("guest.tls"),
            scratch=merged.text("guest.scratch"),
            fallback_dns=merged.words("guest.fallback_dns"),
            aa=merged.text("guest.aa"),
            cdh=merged.text("guest.cdh"),
            registries=merged.text("guest.registries"),
            client_ca=merged.text("guest.client_ca"),
            ca_certificates=merged.words("guest.ca_certificates"),
            ssh_key=merged.text("guest.ssh_key"),
            bake=merged.words("guest.bake"),
        ),
        platform=PlatformPlan(
            vmm=merged.text("platform.vmm"),
            firmware=merged.text("platform.firmware"),
            boot=merged.words("platform.boot"),
            vcpus=merged.numbers("platform.vcpus"),
            cpus=merged.words("platform.cpus"),
            guest_features=merged.numbers("platform.guest_features"),
            secure_boot=merged.text("platform.secure_boot"),
        ),
        evidence=EvidencePlan(
            kind=evidence.kind,
            promised=evidence.promised,
            identifies=bool(evidence.by),
            by=evidence.by,
            reason=evidence.reason,
            source=evidence.source,
        ),
        trust={
            name: tuple(value)
            for name, fact in FACTS.items()
            if fact.profile and isinstance(value := merged.values[f"trust.{name}"], tuple) and value
        },
        suppressions=(),
        tools=catalogue.tools.id,
        ids=Ids(rootfs="", image="", plan=""),
        origins=_origins(target, merged, catalogue, evidence, builder=builder, asked=asked.builder),
    )


def _fragments(target: Target, catalogue: Catalogue) -> list[Fragment]:
    """Return the catalogue's layers in the order in which they are merged."""
    distro = catalogue.distros[target.distro]
    return [
        Fragment(layer="default", edits=(*catalogue.defaults, *catalogue.architectures[target.arch].edits)),
        Fragment(layer=f"distro {target.distro}", edits=(*distro.edits, *distro.architectures[target.arch])),
        Fragment(layer=f"tee {target.tee}", edits=_tee_edits(target, catalogue)),
        Fragment(layer=f"cloud {target.cloud}", edits=_cloud_edits(target, catalogue)),
        Fragment(layer=f"variant {target.variant}", edits=catalogue.variants[target.variant].edits),
        *(Fragment(layer=f"feature {name}", edits=_feature(name, distro, catalogue)) for name in target.features),
    ]


def _tee_edits(target: Target, catalogue: Catalogue) -> tuple[Edit, ...]:
    tee = catalogue.tees[target.tee]
    return (*tee.edits, *tee.architecture_edits.get(target.arch, ()))


def _cloud_edits(target: Target, catalogue: Catalogue) -> tuple[Edit, ...]:
    cloud = catalogue.clouds[target.cloud]
    tee = cloud.tees[target.tee]
    by_arch = (owner.architecture_edits.get(target.arch, ()) for owner in (tee, cloud))
    return (*cloud.edits, *tee.edits, *(edit for edits in by_arch for edit in edits))


def _feature(name: str, distro: Distro, catalogue: Catalogue) -> tuple[Edit, ...]:
    feature, own = catalogue.features[name], distro.features.get(name)
    if own is None and feature.per_distro:
        having = [other.name for other in catalogue.distros.values() if name in other.features]
        raise InputError(
            f"feature `{name}` is not known for {distro.title}", code="PVB126", hint=f"it is for {', '.join(having)}"
        )
    return feature.edits + (own.edits if own is not None else ())


def _repositories(target: Target, distro: Distro) -> tuple[str, ...]:
    """Return where packages come from: the distribution's own, and what features need besides."""
    found = [distro.features[name].repositories for name in target.features if name in distro.features]
    return tuple(dict.fromkeys((*distro.repositories, *(name for names in found for name in names))))


def _check(target: Target, merged: Merged, catalogue: Catalogue) -> None:
    """Refuse settings that are sound each for itself but not together."""
    cloud = catalogue.clouds[target.cloud]
    for boot in merged.words("platform.boot"):
        if boot not in cloud.boots:
            raise InputError(
                f"{cloud.title} does not boot by path `{boot}`",
                code="PVB117",
                place=merged.places["platform.boot"],
                hint=f"`platform.boot` may hold {', '.join(cloud.boots)} for `{target}`",
            )
    for key in ("platform.boot", "platform.vcpus"):
        if not merged.values[key]:
            raise InputError(
                f"nothing is left in `{key}`",
                code="PVB117",
                place=merged.places[key],
                hint="there must be something to predict for",
            )
    check_guest(target, merged)
    length = len(" ".join(merged.words("kernel.cmdline"))) + rules.ROOTHASH_LENGTH
    if length >= rules.CMDLINE_MAX:
        raise InputError(
            f"the kernel's command line is {length} characters with the root hash; Linux reads {rules.CMDLINE_MAX - 1}",
            code="PVB117",
            place=merged.places["kernel.cmdline"],
        )


def _units(merged: Merged, catalogue: Catalogue) -> dict[str, str]:
    states = merged.states("units")
    if merged.text("guest.ssh_key"):
        states = {SSH_UNIT: "enable", **states}
    if merged.values["measure.phases"] is not True:
        # what a layer says about such a unit itself goes before
        states = {**dict.fromkeys(catalogue.phase_units, "mask"), **states}
    return dict(sorted(states.items()))


def _evidence(target: Target, merged: Merged, catalogue: Catalogue) -> Evidence:
    """Return the first row of evidence that holds for this boot and firmware."""
    firmware = catalogue.firmware.get(merged.text("platform.firmware"))
    hashes = firmware is not None and firmware.kernel_hashes
    boots = merged.words("platform.boot")
    rows = catalogue.clouds[target.cloud].tees[target.tee].evidence
    return next(
        row
        for row in rows
        if row.when.boot in (None, *boots)
        and row.when.kernel_hashes in (None, hashes)
        and row.when.arch in (None, target.arch)
    )


def _origins(
    target: Target, merged: Merged, catalogue: Catalogue, evidence: Evidence, *, builder: str, asked: str | None
) -> dict[str, tuple[Origin, ...]]:
    """Return where every value of the plan came from, those that are no settings included."""
    distro = catalogue.distros[target.distro]
    origins = dict(merged.origins)
    layer = f"distro {target.distro}"
    for key, value in (
        ("builder", distro.builder),
        ("distro.name", distro.distribution),
        ("distro.release", distro.release),
        ("distro.repositories", show(_repositories(target, distro))),
        ("distro.os_id", distro.os_id),
    ):
        origins[key] = (Origin(layer=layer, place=distro.place, what=f"= {value}"),)
    if asked is not None:
        origins["builder"] += (Origin(layer="--builder", place="--builder", what=f"= {builder}"),)
    layer = f"cloud {target.cloud}"
    for key, value in (
        ("evidence.kind", evidence.kind),
        ("evidence.promised", show(evidence.promised)),
        ("evidence.identifies", show(bool(evidence.by))),
        ("evidence.by", show(evidence.by)),
        ("evidence.reason", evidence.reason),
        ("evidence.source", evidence.source),
    ):
        origins[key] = (Origin(layer=layer, place=evidence.place, what=f"= {value}"),)
    origins["tools"] = (Origin(layer="default", place="catalog/tools.yaml:1", what=f"= {catalogue.tools.id}"),)
    if merged.values["measure.phases"] is not True:
        masked = Origin(
            layer="default",
            place="catalog/defaults.yaml:1",
            what="+ " + ", ".join(f"{unit}: mask" for unit in catalogue.phase_units) + " (`measure.phases` is false)",
        )
        origins["units"] = (masked, *origins["units"])
    proofs = catalogue.proofs_of(target, builder)
    origins["level"] = tuple(
        Origin(layer="default", place=proof.test, what=f"= {proof.level}") for proof in proofs
    ) or (Origin(layer="default", place="catalog/levels.yaml:1", what="= planned"),)
    return origins
