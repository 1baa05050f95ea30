{{- define "ksec.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name where it says what it is already. */}}
{{- define "ksec.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "ksec.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "ksec.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ksec.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "ksec.selector" -}}
app.kubernetes.io/name: {{ include "ksec.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ksec.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "ksec.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The annotations of an object: those of all objects, and its own. Its own win. */}}
{{- define "ksec.annotations" -}}
{{- with merge (dict) (default dict .own) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The part of an object's metadata that follows its name: a namespace, labels and annotations. */}}
{{- define "ksec.metadata" -}}
{{- if not .clusterWide }}
namespace: {{ default (include "ksec.namespace" .root) .namespace }}
{{- end }}
labels:
  {{- include "ksec.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- include "ksec.annotations" (dict "root" .root "own" .annotations) }}
{{- end }}

{{/* Labels of pods. They hold no version: a new version of the chart alone must not restart the pods. */}}
{{- define "ksec.podLabels" -}}
{{- $own := include "ksec.selector" . | fromYaml }}
{{- toYaml (merge $own .Values.podLabels .Values.commonLabels) }}
{{- end }}

{{- define "ksec.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ksec.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ksec.lease" -}}
{{- default (include "ksec.fullname" .) .Values.leaderElection.resourceName }}
{{- end }}

{{- define "ksec.image" -}}
{{- $name := .Values.image.repository }}
{{- with .Values.image.registry }}
{{- $name = printf "%s/%s" . $name }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* YAML reads an unquoted off as false. */}}
{{- define "ksec.driftDetection" -}}
{{- ternary "off" .Values.stack.driftDetection (kindIs "bool" .Values.stack.driftDetection) }}
{{- end }}

{{/* The TCP ports of URLs, as a JSON list. A URL without a port has that of its scheme; a proxy may have no scheme. */}}
{{- define "ksec.portsOf" -}}
{{- $ports := list }}
{{- range . }}
{{- $url := urlParse (ternary . (printf "http://%s" .) (contains "://" .)) }}
{{- $ports = append $ports (int (regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")))) }}
{{- end }}
{{- toJson $ports }}
{{- end }}

{{/* All TCP ports that the NetworkPolicy lets pods call anywhere, as a JSON list. */}}
{{- define "ksec.egressPorts" -}}
{{- $urls := concat (list) .Values.masters }}
{{- with .Values.traces.endpoint }}
{{- $urls = append $urls . }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if and (has (upper .name) (list "HTTP_PROXY" "HTTPS_PROXY" "ALL_PROXY")) .value }}
{{- $urls = append $urls .value }}
{{- end }}
{{- end }}
{{- $ports := concat .Values.networkPolicy.egressPorts (include "ksec.portsOf" $urls | fromJsonArray) }}
{{- if hasKey .Values.podAnnotations "iam.amazonaws.com/role" }}
{{- $ports = append $ports 8181 }}
{{- end }}
{{- $numbers := list }}
{{- range $ports }}
{{- $numbers = append $numbers (int .) }}
{{- end }}
{{- toJson (uniq $numbers) }}
{{- end }}

{{/*
Fails when an upgrade would change the name of the Lease while pods of the release run: old pods hold the old Lease while new ones
acquire the new one, so two leaders would act at once. Without a connection to the cluster there is nothing to compare.
*/}}
{{- define "ksec.checkLease" -}}
{{- $new := include "ksec.lease" . }}
{{- $variable := "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_RESOURCE_NAME" }}
{{- range (lookup "apps/v1" "Deployment" (include "ksec.namespace" .) "").items }}
{{- $release := dig "metadata" "annotations" "meta.helm.sh/release-name" "" . }}
{{- if and (eq $release $.Release.Name) (gt (int .spec.replicas) 0) }}
{{- range .spec.template.spec.containers }}
{{- $old := "" }}
{{- range default list .env }}
{{- if eq .name $variable }}{{ $old = .value }}{{ end }}
{{- end }}
{{- range default list .args }}
{{- if hasPrefix "--leader-elect-resource-name=" . }}{{ $old = trimPrefix "--leader-elect-resource-name=" . }}{{ end }}
{{- end }}
{{- if and $old (ne $old $new) }}
{{- fail (printf "leaderElection.resourceName: the pods that run hold the Lease %s, and this upgrade would name it %s: two leaders could act at once. Either set leaderElection.resourceName=%s, or first run: kubectl -n %s scale deployment -l app.kubernetes.io/instance=%s --replicas=0" $old $new $old (include "ksec.namespace" $) $.Release.Name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Settings that contradict each other, refused before anything is installed. */}}
{{- define "ksec.check" -}}
{{- include "ksec.checkLease" . }}
{{- if .Values.namespace }}
{{- fail "namespace: its name is watchNamespace now: the namespace whose ConfigMaps count. To install into another namespace, use helm's --namespace, or namespaceOverride" }}
{{- end }}
{{- if not .Values.image.repository }}
{{- fail "image.repository: it is empty, and this chart was not made by a release: set it to your image, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/kube-static-egress-controller; deploy/image/build makes the image and deploy/image/push pushes it" }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and (ne (toString .minAvailable) "") (ne (toString .maxUnavailable) "") }}
{{- fail "podDisruptionBudget: minAvailable and maxUnavailable exclude each other: set one of them to \"\"" }}
{{- end }}
{{- end }}
{{- if and (eq .Values.provider "aws") (not .Values.zones) }}
{{- fail "zones: provider aws needs at least one {zone, natCidr}" }}
{{- end }}
{{- if and (eq .Values.provider "aws") (not .Values.clusterId) }}
{{- fail "clusterId: provider aws needs it, and no two clusters may have the same. A stack that was made without: first give it the tags kubernetes.io/cluster/ID=owned and kubernetes:application=kube-static-egress-controller" }}
{{- end }}
{{- if and (not .Values.leaderElection.enabled) (gt (int .Values.replicaCount) 1) }}
{{- fail "replicaCount: without leaderElection.enabled there may be one replica only" }}
{{- end }}
{{- if and .Values.annotateConfigMaps (not .Values.leaderElection.enabled) }}
{{- fail "annotateConfigMaps: the controller annotates ConfigMaps only with leaderElection.enabled" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "serviceMonitor.enabled: it scrapes the Service, so service.enabled must be true" }}
{{- end }}
{{- end }}

{{/* One --flag=value a line. A setting that is empty leaves its flag out, so that the program's default holds. */}}
{{- define "ksec.args" -}}
{{- $v := .Values }}
- {{ printf "--provider=%s" $v.provider | quote }}
{{- range $flag, $value := dict
  "cluster-id" $v.clusterId
  "cluster-id-tag-prefix" $v.clusterIdTagPrefix
  "controller-id" $v.controllerId
  "namespace" $v.watchNamespace
  "credentials-dir" $v.credentialsDir
  "vpc-id" $v.aws.vpcId
  "cf-template-bucket" $v.aws.templateBucket
  "aws-cfn-role-arn" $v.aws.cfnRoleArn
  "otlp-endpoint" $v.traces.endpoint }}
{{- if $value }}
- {{ printf "--%s=%s" $flag $value | quote }}
{{- end }}
{{- end }}
{{- if $v.maxNetworksPerNamespace }}
- {{ printf "--max-networks-per-namespace=%d" (int $v.maxNetworksPerNamespace) | quote }}
{{- end }}
{{- range $v.masters }}
- {{ printf "--master=%s" . | quote }}
{{- end }}
{{- if $v.usePlatformCredentials }}
- "--use-platform-credentials=true"
{{- end }}
{{- range $v.zones }}
- {{ printf "--aws-az=%s" .zone | quote }}
- {{ printf "--aws-nat-cidr-block=%s" .natCidr | quote }}
{{- $zone := .zone }}
{{- if .allocationId }}
- {{ printf "--aws-eip-allocation-id=%s=%s" $zone .allocationId | quote }}
{{- end }}
{{- range .allocationIds }}
- {{ printf "--aws-eip-allocation-id=%s=%s" $zone . | quote }}
{{- end }}
{{- end }}
{{- range $key, $value := $v.aws.routeTableTags }}
- {{ printf "--aws-route-table-tag=%s=%s" $key $value | quote }}
{{- end }}
{{- if $v.aws.routeTableQuota }}
- {{ printf "--aws-route-table-quota=%d" (int $v.aws.routeTableQuota) | quote }}
{{- end }}
{{- if $v.aws.allowPrivateRanges }}
- "--allow-private-ranges=true"
{{- end }}
{{- range $key, $value := $v.stack.additionalTags }}
- {{ printf "--additional-stack-tags=%s=%s" $key $value | quote }}
{{- end }}
- {{ printf "--stack-termination-protection=%t" $v.stack.terminationProtection | quote }}
- {{ printf "--stack-policy=%s" $v.stack.policy | quote }}
- {{ printf "--prefix-lists=%s" $v.stack.prefixLists | quote }}
{{- range $v.stack.removeZones }}
- {{ printf "--remove-zone=%s" . | quote }}
{{- end }}
- {{ printf "--aws-eips-per-zone=%d" (int $v.stack.eipsPerZone) | quote }}
- {{ printf "--aws-eips-in-use-per-zone=%d" (int $v.stack.eipsInUsePerZone) | quote }}
{{- range $v.stack.replaceStaticIps }}
- {{ printf "--replace-static-ip=%s" . | quote }}
{{- end }}
- {{ printf "--on-empty=%s" $v.stack.onEmpty | quote }}
- {{ printf "--empty-grace-period=%s" $v.stack.emptyGracePeriod | quote }}
- {{ printf "--max-removal=%d" (int $v.stack.maxRemoval) | quote }}
- {{ printf "--resync-interval=%s" $v.stack.resyncInterval | quote }}
- {{ printf "--drift-detection=%s" (include "ksec.driftDetection" .) | quote }}
- {{ printf "--drift-interval=%s" $v.stack.driftInterval | quote }}
{{- range $v.stack.allowNewEips }}
- {{ printf "--allow-new-eips=%s" . | quote }}
{{- end }}
{{- with $v.stack.takeOverFrom }}
- {{ printf "--take-over-stack-from=%s" . | quote }}
{{- end }}
{{- if $v.dryRun }}
- "--dry-run=true"
{{- end }}
- {{ printf "--leader-elect=%t" $v.leaderElection.enabled | quote }}
{{- if $v.leaderElection.enabled }}
- {{ printf "--leader-elect-lease-duration=%s" $v.leaderElection.leaseDuration | quote }}
- {{ printf "--leader-elect-renew-deadline=%s" $v.leaderElection.renewDeadline | quote }}
- {{ printf "--leader-elect-retry-period=%s" $v.leaderElection.retryPeriod | quote }}
{{- end }}
- {{ printf "--log-level=%s" $v.log.level | quote }}
- {{ printf "--log-format=%s" $v.log.format | quote }}
- {{ printf "--address=:%d" (int $v.port) | quote }}
- {{ printf "--status-page=%t" $v.statusPage | quote }}
{{- if $v.annotateConfigMaps }}
- "--annotate-configmaps=true"
{{- end }}
{{- range $v.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* OpenShift gives each namespace its own range of user ids, and its security context constraints refuse another one. */}}
{{- define "ksec.podSecurityContext" -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- toYaml (omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup") }}
{{- else }}
{{- toYaml .Values.podSecurityContext }}
{{- end }}
{{- end }}

{{/* What the pods of the controller and of `helm test` have in common. */}}
{{- define "ksec.pod" -}}
serviceAccountName: {{ include "ksec.serviceAccount" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
# Else the Service would put variables into the environment that begin like those of flags.
enableServiceLinks: false
{{- with concat (default list (dig "imagePullSecrets" list (default dict .Values.global))) .Values.imagePullSecrets | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $key := list "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" }}
{{- with get $.Values $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- if .Values.hostNetwork }}
hostNetwork: true
{{- if not .Values.dnsPolicy }}
# Else a pod in the node's network would not find the cluster's Services.
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{- end }}
securityContext:
  {{- include "ksec.podSecurityContext" . | nindent 2 }}
{{- range $key, $value := dict
  "dnsConfig" .Values.dnsConfig
  "hostAliases" .Values.hostAliases
  "initContainers" .Values.initContainers
  "volumes" .Values.extraVolumes
  "nodeSelector" .Values.nodeSelector
  "affinity" .Values.affinity
  "tolerations" .Values.tolerations }}
{{- with $value }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* And their containers. */}}
{{- define "ksec.container" -}}
image: {{ include "ksec.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  # The holder of the Lease begins with the pod's name.
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  # For commands in the pod, too: kubectl exec … status finds the Lease and the status under every release name.
  - name: KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_RESOURCE_NAME
    value: {{ include "ksec.lease" . | quote }}
  {{- with .Values.aws.region }}
  - name: AWS_REGION
    value: {{ . | quote }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A list of texts as CEL has it. */}}
{{- define "ksec.cel" -}}
[{{ range $i, $text := . }}{{ if $i }}, {{ end }}'{{ $text }}'{{ end }}]
{{- end }}

{{/* CEL: a setting of the request's namespace where it has one of its own, else the default. */}}
{{- define "ksec.forNamespace" -}}
{{- $field := .field }}
{{- range $name, $limits := .namespaces }}
{{- if hasKey $limits $field }}
{{- $value := get $limits $field }}
{{- printf "request.namespace == '%s' ? " $name }}
{{- if kindIs "slice" $value }}{{ include "ksec.cel" $value }}{{ else }}{{ int $value }}{{ end }}
{{- " : " }}
{{- end }}
{{- end }}
{{- if kindIs "slice" .default }}{{ include "ksec.cel" .default }}{{ else }}{{ int .default }}{{ end }}
{{- end }}

{{/* What ServiceMonitor and PodMonitor have in common: how the port is scraped. */}}
{{- define "ksec.endpoint" -}}
- port: http
  {{- range $key := list "interval" "scrapeTimeout" "honorLabels" "relabelings" "metricRelabelings" }}
  {{- with get $ $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}
