"""Jobs and CronJobs. Source: `pkg/controller/{job,cronjob}` of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from meshguard.sim.api.controllers.hands import Hands, is_active, is_ready, key_of, owner_of, owner_reference, pod_of
from meshguard.sim.api.cron import Schedule
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Event, Key

JOBS, CRON_JOBS = "jobs.batch", "cronjobs.batch"


class Jobs:
    """Runs pods until enough have succeeded."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._hands = objects, Hands(objects, "job-controller")

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The Job itself, or the owner of a pod."""
        if storage == JOBS:
            yield event.new.key
        elif storage == "pods":
            owner = owner_of(event.new.doc)
            if owner and owner["kind"] == "Job":
                yield event.new.key[0], owner["name"]

    def reconcile(self, key: Key) -> float | None:
        """Start what is missing, and tell how far it is."""
        doc = self._hands.get(JOBS, key)
        if doc is None or doc["metadata"].get("deletionTimestamp") or _finished(doc):
            return None
        spec, status = doc["spec"], doc.get("status", {})
        if spec.get("suspend"):
            self._suspend(key, doc)
            return None
        pods = self._hands.owned("pods", key[0], doc["metadata"]["uid"])
        succeeded = sum(pod["status"].get("phase") == "Succeeded" for pod in pods)
        failed = sum(pod["status"].get("phase") == "Failed" for pod in pods)
        active = [pod for pod in pods if is_active(pod)]
        wanted = spec.get("completions")
        parallel = spec.get("parallelism", 1)
        if wanted is not None:
            parallel = min(parallel, wanted - succeeded)
        owner = owner_reference(self._hands.resource(JOBS), doc)
        for _ in range(parallel - len(active)):
            pod = pod_of(spec["template"], owner, {})
            pod["metadata"]["generateName"] = f"{doc['metadata']['name']}-"
            if self._hands.create("pods", key[0], pod) is None:
                return 1.0
        active = [p for p in self._hands.owned("pods", key[0], doc["metadata"]["uid"]) if is_active(p)]
        now = self._objects.now()
        fresh: Doc = {"startTime": status.get("startTime", now), "ready": sum(is_ready(pod) for pod in active)}
        fresh |= {n: v for n, v in (("active", len(active)), ("succeeded", succeeded), ("failed", failed)) if v}
        fresh |= {"terminating": 0, "uncountedTerminatedPods": {}}
        if wanted is not None and succeeded >= wanted:
            fresh["completionTime"] = now
            fresh["conditions"] = [
                _condition(kind, "CompletionsReached", "Reached expected number of succeeded pods", now)
                for kind in ("SuccessCriteriaMet", "Complete")
            ]
        if fresh != status:
            self._hands.update(JOBS, key, {"status": fresh}, "status")
        return None

    def _suspend(self, key: Key, doc: Doc) -> None:
        found = doc.get("status", {}).get("conditions", [])
        if not any(c["type"] == "Suspended" and c["status"] == "True" for c in found):
            fresh = _condition("Suspended", "JobSuspended", "Job suspended", self._objects.now())
            status = {"conditions": [fresh], "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
            self._hands.update(JOBS, key, {"status": status}, "status")


def _condition(kind: str, reason: str, message: str, now: str) -> Doc:
    times = {"lastProbeTime": now, "lastTransitionTime": now}
    return {"type": kind, "status": "True", **times, "reason": reason, "message": message}


def _finished(job: Doc) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


class CronJobs:
    """Creates Jobs when their time has come."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._hands = objects, Hands(objects, "cronjob-controller")

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The CronJob itself, or the owner of a Job."""
        if storage == CRON_JOBS:
            yield event.new.key
        elif storage == JOBS:
            owner = owner_of(event.new.doc)
            if owner and owner["kind"] == "CronJob":
                yield event.new.key[0], owner["name"]

    def reconcile(self, key: Key) -> float | None:
        """Create the Job that is due, and come again for the next one."""
        doc = self._hands.get(CRON_JOBS, key)
        if doc is None or doc["metadata"].get("deletionTimestamp") or doc["spec"].get("suspend"):
            return None
        now = datetime.fromisoformat(self._objects.clock.wall().replace("Z", "+00:00"))
        last = doc.get("status", {}).get("lastScheduleTime") or doc["metadata"]["creationTimestamp"]
        schedule = Schedule.parse(doc["spec"]["schedule"])
        due = schedule.last_between(_moment(last), now)
        if due is not None:
            self._run(doc, due)
        self._tell(key)
        upcoming = schedule.next_after(now)
        return (upcoming - now).total_seconds() if upcoming else None

    def _run(self, doc: Doc, due: datetime) -> None:
        namespace, name = key_of(doc)
        running = [job for job in self._jobs(doc) if not _finished(job)]
        policy = doc["spec"].get("concurrencyPolicy", "Allow")
        if running and policy == "Forbid":
            return
        if policy == "Replace":
            for job in running:
                self._hands.delete(JOBS, key_of(job))
        template = doc["spec"]["jobTemplate"]
        metadata = template.get("metadata", {})
        stamp = due.isoformat().replace("+00:00", "Z")
        annotations = {**metadata.get("annotations", {}), "batch.kubernetes.io/cronjob-scheduled-timestamp": stamp}
        body: Doc = {
            "metadata": {
                "name": f"{name}-{int(due.timestamp()) // 60}",
                "labels": dict(metadata.get("labels", {})),
                "annotations": annotations,
                "ownerReferences": [owner_reference(self._hands.resource(CRON_JOBS), doc)],
            },
            "spec": dict(template["spec"]),
        }
        self._hands.create(JOBS, namespace, body)
        status = {**doc.get("status", {}), "lastScheduleTime": stamp}
        self._hands.update(CRON_JOBS, key_of(doc), {"status": status}, "status")

    def _jobs(self, doc: Doc) -> list[Doc]:
        return self._hands.owned(JOBS, doc["metadata"]["namespace"], doc["metadata"]["uid"])

    def _tell(self, key: Key) -> None:
        doc = self._hands.get(CRON_JOBS, key)
        if doc is None:
            return
        done = sorted((job for job in self._jobs(doc) if _finished(job)), key=lambda j: j["status"]["startTime"])
        for job in done[: max(0, len(done) - doc["spec"].get("successfulJobsHistoryLimit", 3))]:
            self._hands.delete(JOBS, key_of(job))
        status = {k: v for k, v in doc.get("status", {}).items() if k != "active"}
        active = [_reference(job) for job in self._jobs(doc) if not _finished(job)]
        if active:
            status["active"] = active
        if done:
            status["lastSuccessfulTime"] = done[-1]["status"]["completionTime"]
        if status != doc.get("status", {}):
            self._hands.update(CRON_JOBS, key, {"status": status}, "status")


def _reference(job: Doc) -> Doc:
    metadata = job["metadata"]
    return {
        "kind": "Job",
        "apiVersion": "batch/v1",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
